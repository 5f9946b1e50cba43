"""CT series: stored once a content, listed and deleted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from ml.dicom.files import SkippedFile
from services.api.idempotency import KeyedRoute, RequestKey
from services.api.removal import finish_deletion
from services.api.series.checking import CheckedSeries
from services.api.series.errors import SeriesInUseError, SeriesSharedError
from services.core.audit import Action, ResourceKind
from services.core.deletion import begin_deletion
from services.core.lifecycle import ACTIVE_STATES
from services.core.repositories.paging import PageCursor
from services.core.storage import Storage, StoredKind
from services.core.tables.audit import Deletion
from services.core.tables.contouring import Series
from services.core.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class PostedSeries:
    """What became of an upload."""

    series: Series
    is_new: bool
    """False when the same content is in storage already."""
    skipped: tuple[SkippedFile, ...]


class SeriesService:
    """CT series in the words of the domain."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork], storage: Storage) -> None:
        self._new_unit_of_work = new_unit_of_work
        self._storage = storage

    def post(self, checked: CheckedSeries, idempotency_key: str | None) -> PostedSeries:
        """Store a checked upload as a series, or find it there.

        Raises:
            IdempotencyKeyReusedError: the key came with a different series.
        """
        key = RequestKey(
            route=KeyedRoute.SERIES,
            key=idempotency_key,
            request_sha256=checked.content_sha256,
        )
        with self._new_unit_of_work() as uow:
            posted = add_series(uow, checked)
            if not key.is_replay(uow, is_new=posted.is_new):
                key.remember(uow, posted.series.id)
                record_submission(uow, posted)
                publish_series(self._storage, checked, posted)
            uow.commit()  # also that it was posted again, for which it is kept longer
        return posted

    def get(self, series_id: UUID) -> Series:
        """Return a series; raises SeriesNotFoundError."""
        with self._new_unit_of_work() as uow:
            return uow.series.get(series_id)

    def page(self, limit: int, after: PageCursor | None) -> Sequence[Series]:
        """List series, newest first, from behind a cursor."""
        with self._new_unit_of_work() as uow:
            return uow.series.page(limit, after)

    def delete(self, series_id: UUID) -> Deletion:
        """Delete a series, its jobs' results, shadows and edits, and what datasets collected of it.

        Versions of datasets that were read before are named in the deletion and stay.

        Raises:
            SeriesNotFoundError: no row has the id.
            SeriesSharedError: somebody else posted the same content, which is theirs too.
            SeriesInUseError: a job of the series, the comparison of an edit, or a dataset version
                that reads one has not ended.
        """
        with self._new_unit_of_work() as uow:
            series = uow.series.get_locked(series_id)
            if uow.actor.sees_only_own and uow.series.has_other_owner(series_id):
                raise SeriesSharedError(series_id)
            deletion = None
            if series.purged_at is not None:
                deletion = uow.deletions.find_of((ResourceKind.SERIES, series_id))
            if deletion is None:
                uow.contour_jobs.lock_of_series(series_id)  # no edit is added to them any more
                _check_unused(uow, series_id)
                erased = uow.erasure.series(series_id, with_sources=True)
                deletion = begin_deletion(uow, ResourceKind.SERIES, series_id, erased)
                uow.commit()
        return finish_deletion(self._new_unit_of_work, self._storage, deletion)


def _check_unused(uow: UnitOfWork, series_id: UUID) -> None:
    """Return if nothing that has not ended needs a series, whose jobs were locked before.

    Raises:
        SeriesInUseError: something does.
    """
    for job in uow.contour_jobs.of_series(series_id):
        if job.state in ACTIVE_STATES:
            raise SeriesInUseError(series_id, {"contour_job": job.id})
    edits = uow.edited_rtstructs.of_series(series_id)
    for edited in edits:
        if not edited.state.is_terminal:
            raise SeriesInUseError(
                series_id, {"edited_rtstruct": edited.id, "contour_job": edited.job_id}
            )
    version_id = uow.edited_rtstructs.find_reader([edited.id for edited in edits])
    if version_id is not None:
        raise SeriesInUseError(series_id, {"dataset_version": version_id})


def add_series(uow: UnitOfWork, checked: CheckedSeries) -> PostedSeries:
    """Bring the row of a checked series into the open transaction, or lock the one it has."""
    series, needs_files = uow.series.get_or_create(
        Series(
            id=uuid4(),
            content_sha256=checked.content_sha256,
            series_instance_uid=checked.series_instance_uid,
            study_instance_uid=checked.study_instance_uid,
            frame_of_reference_uid=checked.frame_of_reference_uid,
            is_deidentified=checked.is_deidentified,
            patient_position=checked.patient_position,
            slice_count=checked.slice_count,
            rows=checked.rows,
            columns=checked.columns,
            spacing_mm=list(checked.spacing_mm),
            extent_mm=list(checked.extent_mm),
            byte_count=checked.byte_count,
        )
    )
    uow.series.add_owner(series)
    return PostedSeries(series=series, is_new=needs_files, skipped=checked.skipped)


def record_submission(uow: UnitOfWork, posted: PostedSeries) -> None:
    """Have the audit trail say who sent a series, with the commit of the open transaction."""
    uow.audit.record(
        Action.SERIES_SUBMITTED,
        ResourceKind.SERIES,
        posted.series.id,
        is_new=posted.is_new,
        slices=posted.series.slice_count,
    )


def publish_series(storage: Storage, checked: CheckedSeries, posted: PostedSeries) -> None:
    """Bring the files of a series into storage, as the last step before the commit.

    Where that commit fails, files without a row are left, which housekeeping removes.
    """
    if posted.is_new:
        storage.publish_once(StoredKind.SERIES, checked.folder, posted.series.id)
