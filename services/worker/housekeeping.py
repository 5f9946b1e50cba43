"""What every worker does beside its jobs: report itself, take over, send again, clear up.

Runs in a thread of the child process, because only the child knows whether its network is
loaded, and because a parent that forks should have no threads. Every step is safe to repeat and
to run in several workers at once.
"""

import datetime as dt
import threading
import time
from collections.abc import Callable
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from services.core.database import utc_now
from services.core.errors import ServiceError
from services.core.lifecycle import RESUMABLE_STATES, AliasName
from services.core.logging import get_logger
from services.core.queue import TaskName
from services.core.storage import Storage, StoredKind
from services.core.tables.operations import WorkerHeartbeat
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.experiments import conclude_experiments

log = get_logger(__name__)

PURGE_BATCH = 100
"""Rows of one kind that one pass purges; the next pass takes the next ones."""

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
        set(ids) - uow.dataset_versions.ended_among(ids) - uow.runs.succeeded_among(ids)
    ),
    StoredKind.SHADOW_RESULTS: lambda uow, ids: uow.shadow_contours.with_result_among(ids),
    StoredKind.MODEL_VERSIONS: lambda uow, ids: uow.model_versions.with_files_among(ids),
    StoredKind.MODEL_UPLOADS: lambda uow, ids: uow.model_versions.with_upload_among(ids),
}
"""Which of the resources with files, of those kinds that are looked through, still need them."""


class Housekeeper:
    """Keeps house every few seconds until stopped."""

    def __init__(self, worker: WorkerContext) -> None:
        self._worker = worker
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._cleared_at = -float("inf")

    def start(self) -> None:
        """Begin, and report the worker at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, and take the worker off the list of those present."""
        self._stopped.set()
        self._thread.join()
        with self._worker.unit_of_work() as uow:
            uow.workers.sign_off(self._worker.name)
            uow.commit()

    def _run(self) -> None:
        while True:
            try:
                self._keep_house()
            except (SQLAlchemyError, ServiceError, OSError) as error:
                # Outermost frame of the thread: the next pass tries again.
                log.warning("housekeeping failed", reason=type(error).__name__)
            if self._stopped.wait(self._worker.times.sweep_seconds):
                return

    def _keep_house(self) -> None:
        worker = self._worker
        report_worker(worker)
        take_over_lost_jobs(worker.unit_of_work())
        conclude_experiments(worker)
        send_again(worker.unit_of_work(), resend_seconds=worker.times.resend_seconds)
        if time.monotonic() - self._cleared_at >= worker.times.retention_seconds:
            self._cleared_at = time.monotonic()
            clear_up(worker)


def report_worker(worker: WorkerContext) -> None:
    """Note in the database that this worker is there and which network it contours with.

    After a change of production the network before it is shown until a job has loaded the next.
    """
    with worker.unit_of_work() as uow:
        production = uow.model_aliases.get(AliasName.PRODUCTION).model_version_id
        shadow = uow.model_aliases.get(AliasName.SHADOW).model_version_id
        loaded = worker.networks.loaded
        others = [network for key, network in loaded.items() if key != shadow]
        network = loaded.get(production) or next(reversed(others), None)
        uow.workers.report(
            WorkerHeartbeat(
                name=worker.name,
                queue=min(worker.queues),  # a worker serves one queue: compose and supervisor
                device=worker.networks.options.device,
                software_version=worker.software_version,
                weights_loaded=network is not None,
                model_version=network.model_version if network else None,
                weights_sha256=network.weights_sha256 if network else None,
            )
        )
        uow.commit()


def take_over_lost_jobs(uow: UnitOfWork) -> None:
    """Queue the jobs of silent workers again, or end those that have no attempt left."""
    for task in TaskName:
        with uow:
            reaped = uow.leases.reap(task)
            uow.commit()
        for outcome, job_ids in (
            ("queued again", reaped.requeued),
            ("failed", reaped.failed),
            ("cancelled", reaped.cancelled),
        ):
            for job_id in job_ids:
                log.warning("worker lost", task=task, job_id=str(job_id), outcome=outcome)


def send_again(uow: UnitOfWork, *, resend_seconds: float) -> None:
    """Send the messages of queued jobs that were never sent or may have been lost."""
    for task in TaskName:
        with uow:
            due = uow.leases.due_for_sending(task, resend_seconds=resend_seconds)
            for job_id in due:
                uow.enqueue(task, job_id)
            uow.commit()
        if due:
            log.info("messages sent again", task=task, count=len(due))


def clear_up(worker: WorkerContext) -> None:
    """Remove what is past its time: results, series, keys, worker reports, files of nobody."""
    now, times = utc_now(), worker.times
    edited_before = now - dt.timedelta(days=times.edited_retention_days)
    purge_edited(worker.unit_of_work(), worker.storage, edited_before)
    before = now - dt.timedelta(days=times.result_retention_days)
    purge_results(worker.unit_of_work(), worker.storage, before)
    purge_series(worker.unit_of_work(), worker.storage, before)
    purge_workspaces(worker.unit_of_work(), worker.storage, before)
    with worker.unit_of_work() as uow:
        uow.idempotency.forget(now - dt.timedelta(hours=times.idempotency_retention_hours))
        uow.workers.forget(now - HEARTBEAT_RETENTION)
        uow.commit()
    remove_orphans(worker.unit_of_work(), worker.storage, times.stale_upload_hours * 3600)


def purge_edited(uow: UnitOfWork, storage: Storage, before: dt.datetime) -> None:
    """Remove edited RTSTRUCTs that were sent before a moment; their rows and scores stay."""
    with uow:
        due = uow.edited_rtstructs.due_for_purge(before, PURGE_BATCH)
    for edited_id in due:
        with uow:
            if uow.edited_rtstructs.purge(edited_id):
                storage.delete(StoredKind.EDITED_RTSTRUCTS, edited_id)
                uow.commit()


def purge_results(uow: UnitOfWork, storage: Storage, before: dt.datetime) -> None:
    """Remove the results of jobs that ended before a moment, and their shadows'; rows stay.

    A result stays as long as an edited RTSTRUCT of it, and the series stays with it.
    """
    with uow:
        due = uow.contour_jobs.due_for_purge(before, PURGE_BATCH)
    for job_id in due:
        with uow:
            if uow.contour_jobs.purge(job_id):
                storage.delete(StoredKind.RESULTS, job_id)
                for shadow_id in uow.shadow_contours.purge_of(job_id):
                    storage.delete(StoredKind.SHADOW_RESULTS, shadow_id)
                uow.commit()


def purge_series(uow: UnitOfWork, storage: Storage, before: dt.datetime) -> None:
    """Remove the files of series posted before a moment that no job needs; their rows stay."""
    with uow:
        due = uow.series.due_for_purge(before, PURGE_BATCH)
    for series_id in due:
        with uow:
            if uow.series.purge(series_id):
                storage.delete(StoredKind.SERIES, series_id)
                uow.commit()


def purge_workspaces(uow: UnitOfWork, storage: Storage, before: dt.datetime) -> None:
    """Remove the state of runs that failed or were cancelled before a moment.

    Their rows stay; one that is resumed after all begins with its first epoch.
    """
    left = storage.list_stored(StoredKind.WORKSPACES, 0)
    with uow:
        due = uow.runs.given_up_among(left, before)
    for run_id in due:
        with uow:
            run = uow.runs.get(run_id, locked=True)  # nobody takes it up while it is locked
            if run.state in RESUMABLE_STATES:
                storage.delete(StoredKind.WORKSPACES, run_id)


def remove_orphans(uow: UnitOfWork, storage: Storage, older_than_seconds: float) -> None:
    """Remove staged folders, and stored ones that no row needs, of at least that age."""
    removed = {"staged": storage.sweep_staging(older_than_seconds)}
    for kind, needed_among in NEEDED_AMONG.items():
        stored = storage.list_stored(kind, older_than_seconds)
        with uow:
            orphans = sorted(set(stored) - needed_among(uow, stored))
        for resource_id in orphans:
            storage.delete(kind, resource_id)
        removed[kind.value] = len(orphans)
    if any(removed.values()):
        log.warning("orphans removed", **{kind: count for kind, count in removed.items() if count})
