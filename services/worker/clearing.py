"""What every worker removes: what was deleted, what is past its time, files of nobody.

A folder that cannot be removed keeps no other: it is logged, and tried again by the next pass.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from uuid import UUID

from services.core.audit import ResourceKind
from services.core.database import utc_now
from services.core.deletion import begin_deletion, complete_deletion
from services.core.disk import disk_errors
from services.core.errors import StorageUnavailableError
from services.core.lifecycle import RESUMABLE_STATES, DeletionCause
from services.core.logging import get_logger
from services.core.repositories.erasure import Erased
from services.core.storage import Storage, StoredKind
from services.core.tables.tallies import TallyKind
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.monitoring import count

log = get_logger(__name__)

PURGE_BATCH = 100
"""Rows of one kind that one pass purges; the next pass takes the next ones."""

WORKSPACE_LEASES = 10
"""Leases after which no worker that lost one writes any more."""

HEARTBEAT_RETENTION = dt.timedelta(days=1)
"""Rows of workers that died without signing off are kept this long for people to look at."""

NEEDED_AMONG: dict[StoredKind, Callable[[UnitOfWork, list[UUID]], set[UUID]]] = {
    StoredKind.SERIES: lambda uow, ids: uow.series.stored_among(ids),
    StoredKind.RESULTS: lambda uow, ids: uow.contour_jobs.with_result_among(ids),
    StoredKind.EDITED_RTSTRUCTS: lambda uow, ids: uow.edited_rtstructs.stored_among(ids),
    StoredKind.DATASET_UPLOADS: lambda uow, ids: uow.datasets.with_source_among(ids),
    StoredKind.DATASETS: lambda uow, ids: uow.dataset_versions.stored_among(ids),
    StoredKind.CROPS: lambda uow, ids: uow.dataset_versions.stored_among(ids),
    StoredKind.RUNS: lambda uow, ids: uow.runs.with_files_among(ids),
    StoredKind.REPORTS: lambda uow, ids: uow.reports.with_files_among(ids),
    # a run that failed or was cancelled may be gone on with; see purge_workspaces
    StoredKind.WORKSPACES: lambda uow, ids: (
        set(ids) - uow.dataset_versions.ended_among(ids, utc_now()) - uow.runs.succeeded_among(ids)
    ),
    StoredKind.SHADOW_RESULTS: lambda uow, ids: uow.shadow_contours.with_result_among(ids),
    StoredKind.MODEL_VERSIONS: lambda uow, ids: uow.model_versions.with_files_among(ids),
    StoredKind.MODEL_UPLOADS: lambda uow, ids: uow.model_versions.with_upload_among(ids),
}
"""Which of the resources with files, of those kinds that are looked through, still need them."""


def clear_up(worker: WorkerContext) -> None:
    """Remove what is past its time: results, series, keys, worker reports, files of nobody.

    Raises:
        StorageUnavailableError: something cannot be removed now; everything else was.
    """
    now, times, storage = utc_now(), worker.times, worker.storage
    edited_before = now - dt.timedelta(days=times.edited_retention_days)
    before = now - dt.timedelta(days=times.result_retention_days)
    unused_before = now - dt.timedelta(days=times.unused_series_retention_days)
    ended_before = now - dt.timedelta(seconds=WORKSPACE_LEASES * times.lease_seconds)
    new = worker.unit_of_work
    take_each(
        [
            lambda: purge_edited(new(), storage, edited_before),
            lambda: purge_results(new(), storage, before),
            lambda: purge_series(new(), storage, before),
            lambda: purge_unused_series(new(), storage, unused_before),
            lambda: purge_workspaces(new(), storage, before),
            lambda: purge_ended_versions(new(), storage, ended_before),
            lambda: forget_records(worker, now),
            lambda: remove_orphans(new(), storage, times.stale_upload_hours * 3600),
        ]
    )


def forget_records(worker: WorkerContext, now: dt.datetime) -> None:
    """Remove Idempotency-Keys past their time, and reports of workers that are long gone."""
    with worker.unit_of_work() as uow:
        uow.idempotency.forget(now - dt.timedelta(hours=worker.times.idempotency_retention_hours))
        uow.workers.forget(now - HEARTBEAT_RETENTION)
        uow.commit()


def take_each(steps: Iterable[Callable[[], None]]) -> None:
    """Take every step, whatever the storage does to another.

    Raises:
        StorageUnavailableError: of the last step that had it.
    """
    failure: StorageUnavailableError | None = None
    for step in steps:
        try:
            with disk_errors():
                step()
        except StorageUnavailableError as error:
            failure = error
    if failure is not None:
        raise failure


def _remove_each(kind: str, resource_ids: Iterable[UUID], remove: Callable[[UUID], None]) -> None:
    """Remove all that can be removed: what cannot is logged and keeps no other.

    Raises:
        StorageUnavailableError: of the last that could not be removed.
    """

    def remove_or_tell(resource_id: UUID) -> None:
        try:
            with disk_errors():
                remove(resource_id)
        except StorageUnavailableError as error:
            log.warning(
                "not removed", kind=kind, id=str(resource_id), code=error.code, **error.context
            )
            raise

    take_each(partial(remove_or_tell, resource_id) for resource_id in resource_ids)


def purge_edited(uow: UnitOfWork, storage: Storage, before: dt.datetime) -> None:
    """Delete edited RTSTRUCTs that were sent before a moment; their scores stay.

    What datasets collected of them stays, too: it is theirs from then on.
    """

    def erase(edited_id: UUID) -> Erased | None:
        if not uow.edited_rtstructs.purge(edited_id):
            return None
        return uow.erasure.edits([edited_id], with_sources=False)

    with uow:
        due = uow.edited_rtstructs.due_for_purge(before, PURGE_BATCH)
    _delete_each(uow, storage, ResourceKind.EDITED_RTSTRUCT, due, erase)


def purge_results(uow: UnitOfWork, storage: Storage, before: dt.datetime) -> None:
    """Delete the results of jobs that ended before a moment, and their shadows'; rows stay.

    A result stays as long as an edited RTSTRUCT of it, and the series stays with it.
    """

    def erase(job_id: UUID) -> Erased | None:
        if not uow.contour_jobs.purge(job_id):
            return None
        return uow.erasure.jobs([job_id], with_sources=False)

    with uow:
        due = uow.contour_jobs.due_for_purge(before, PURGE_BATCH)
    _delete_each(uow, storage, ResourceKind.CONTOUR_JOB, due, erase)


def purge_series(uow: UnitOfWork, storage: Storage, before: dt.datetime) -> None:
    """Delete series last posted before a moment that no job needs any more; their rows stay."""
    with uow:
        due = uow.series.due_for_purge(before, PURGE_BATCH)
    _delete_each(uow, storage, ResourceKind.SERIES, due, _unneeded_series(uow, before))


def purge_unused_series(uow: UnitOfWork, storage: Storage, before: dt.datetime) -> None:
    """Delete series last posted before a moment that no job ever needed; their rows stay."""
    with uow:
        due = uow.series.unused(before, PURGE_BATCH)
    _delete_each(uow, storage, ResourceKind.SERIES, due, _unneeded_series(uow, before))


def _unneeded_series(uow: UnitOfWork, before: dt.datetime) -> Callable[[UUID], Erased | None]:
    def erase(series_id: UUID) -> Erased | None:
        if not uow.series.purge(series_id, before):
            return None
        return uow.erasure.series(series_id, with_sources=False)

    return erase


def _delete_each(
    uow: UnitOfWork,
    storage: Storage,
    kind: ResourceKind,
    resource_ids: Iterable[UUID],
    erase: Callable[[UUID], Erased | None],
) -> None:
    def delete(resource_id: UUID) -> None:
        with uow:
            erased = erase(resource_id)
            if erased is None:
                return
            deletion = begin_deletion(uow, kind, resource_id, erased, DeletionCause.RETENTION)
            uow.commit()
        complete_deletion(lambda: uow, storage, deletion.id)

    _remove_each(kind, resource_ids, delete)


def complete_deletions(uow: UnitOfWork, storage: Storage, before: dt.datetime) -> None:
    """Go on with deletions asked for before a moment that nobody completed.

    Their request died, or left them to us because of their many files.

    Raises:
        StorageUnavailableError: files of one cannot be removed now; the others are completed.
    """

    def complete(deletion_id: UUID) -> None:
        complete_deletion(lambda: uow, storage, deletion_id)
        log.info("deletion completed", deletion_id=str(deletion_id))

    with uow:
        unfinished = uow.deletions.unfinished(before, PURGE_BATCH)
    _remove_each(ResourceKind.DELETION, unfinished, complete)


def purge_ended_versions(uow: UnitOfWork, storage: Storage, before: dt.datetime) -> None:
    """Remove the workspaces of dataset versions that ended before a moment.

    They hold cases, and nobody goes on with them; a run's may be gone on with, see below.
    """
    left = storage.list_stored(StoredKind.WORKSPACES, 0)
    with uow:
        ended = uow.dataset_versions.ended_among(left, before)
    _remove_each(StoredKind.WORKSPACES, ended, partial(storage.erase, StoredKind.WORKSPACES))


def purge_workspaces(uow: UnitOfWork, storage: Storage, before: dt.datetime) -> None:
    """Remove the state of runs that failed or were cancelled before a moment.

    Their rows stay; one that is resumed after all begins with its first epoch.
    """

    def remove(run_id: UUID) -> None:
        with uow:
            run = uow.runs.get(run_id, locked=True)  # nobody takes it up while it is locked
            if run.state in RESUMABLE_STATES:
                storage.delete(StoredKind.WORKSPACES, run_id)

    left = storage.list_stored(StoredKind.WORKSPACES, 0)
    with uow:
        due = uow.runs.given_up_among(left, before)
    _remove_each(StoredKind.WORKSPACES, due, remove)


def remove_orphans(uow: UnitOfWork, storage: Storage, older_than_seconds: float) -> None:
    """Remove staged folders, and stored ones that no row needs, of at least that age.

    Raises:
        StorageUnavailableError: some cannot be removed now; the others are.
    """
    removed = Counter(staged=storage.sweep_staging(older_than_seconds))

    def remove_of(kind: StoredKind) -> None:
        def remove(resource_id: UUID) -> None:
            storage.delete(kind, resource_id)
            removed[kind.value] += 1

        stored = storage.list_stored(kind, older_than_seconds)
        with uow:
            needed = NEEDED_AMONG[kind](uow, stored)
        _remove_each(kind, sorted(set(stored) - needed), remove)

    try:
        take_each(partial(remove_of, kind) for kind in NEEDED_AMONG)
    finally:
        if any(removed.values()):
            with uow:
                count(uow, TallyKind.ORPHANS, removed)
                uow.commit()
            log.warning("orphans removed", **{kind: n for kind, n in removed.items() if n})
