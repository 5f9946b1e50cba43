"""Edited RTSTRUCTs: taken in, compared by a worker, given away again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.api.downloads import HeldFile, StoredFile, held_file, stored_file
from services.api.edited_rtstructs.checking import CheckedEdit
from services.api.edited_rtstructs.errors import (
    EditedRtstructInUseError,
    WrongFrameOfReferenceError,
    WrongReviewError,
    WrongSeriesError,
)
from services.api.idempotency import KeyedRoute, RequestKey, WorkRequest, text_sha256
from services.api.identities import Identities
from services.api.removal import finish_deletion
from services.api.work import check_has_result, check_reader
from services.core.audit import Action, ResourceKind
from services.core.deletion import begin_deletion
from services.core.errors import EditedRtstructPurgedError
from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.repositories.edited_rtstructs import AddedEdit, NewEdit
from services.core.repositories.paging import PageCursor
from services.core.storage import RTSTRUCT_NAME, SEALED_NAME, Storage, StoredKind
from services.core.tables.audit import Deletion
from services.core.tables.contouring import Series
from services.core.tables.reviews import EditedRtstruct
from services.core.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class EditOrigin:
    """Whose edit of which job an RTSTRUCT is."""

    job_id: UUID
    reviewer: str
    review_id: UUID | None


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedEdit:
    """An edited RTSTRUCT and its place in the queue."""

    row: EditedRtstruct
    queue_position: int | None
    """Queued ones that are compared before it; None once it left the queue."""


class EditedRtstructService:
    """Edited RTSTRUCTs in the words of the domain."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork], storage: Storage) -> None:
        self._new_unit_of_work = new_unit_of_work
        self._storage = storage
        self._identities = Identities(storage)

    def check(self, origin: EditOrigin) -> Identities | None:
        """Return if an edit may be sent; asked before its bytes are received.

        Returns:
            What takes the patient out of the edit, where that was done to the series, too.

        Raises:
            ContourJobNotFoundError: no row has the id.
            JobNotFinishedError, JobFailedError, JobCancelledError, ResultPurgedError: the job has
                no result that could be compared.
            ReviewNotFoundError: no review has the id.
            WrongReviewError: the review is of another job or reader.
        """
        with self._new_unit_of_work() as uow:
            job = uow.contour_jobs.get(origin.job_id)
            check_has_result(job)
            _check_review(uow, origin)
            is_deidentified = uow.series.get(job.series_id).is_deidentified
        return self._identities if is_deidentified else None

    def post(
        self, origin: EditOrigin, file: CheckedEdit, request: WorkRequest
    ) -> tuple[WatchedEdit, bool]:
        """Keep a file and have it compared, or find it; blocks.

        Returns:
            The one row of the file, and whether its comparison was queued by this request.

        Raises:
            WrongFrameOfReferenceError, WrongSeriesError: it belongs to another CT.
            ReaderNameTakenError: the reader's name is another client's.
            IdempotencyKeyReusedError: the key came with a different file.
            what check() raises.
        """
        key = RequestKey(
            route=KeyedRoute.EDITED_RTSTRUCTS,
            key=request.idempotency_key,
            request_sha256=text_sha256(f"{origin} {file.content_sha256}"),
        )
        with self._new_unit_of_work() as uow:
            edited_id, is_queued = key.find(uow), False
            if edited_id is None:
                job = uow.contour_jobs.get_locked(origin.job_id)
                check_has_result(job)
                _check_review(uow, origin)
                check_reader(uow, origin.reviewer)
                _check_belongs(uow.series.get(job.series_id), file)
                added = _add(uow, origin, file, request)
                edited_id = key.remember(uow, added.row.id)
                if edited_id == added.row.id:
                    uow.audit.record(
                        Action.EDITED_RTSTRUCT_SUBMITTED,
                        ResourceKind.EDITED_RTSTRUCT,
                        edited_id,
                        contour_job_id=str(origin.job_id),
                        is_new=added.needs_file,
                    )
                    self._publish(file, added)
                    uow.commit()
                    is_queued = added.needs_work
        # Where the same request was first at the same moment, nothing of this one stays.
        return self.get(edited_id), is_queued

    def get(self, edited_id: UUID) -> WatchedEdit:
        """Return an edited RTSTRUCT; raises EditedRtstructNotFoundError."""
        with self._new_unit_of_work() as uow:
            row = uow.edited_rtstructs.get(edited_id)
            position = uow.edited_rtstructs.queue_positions([row]).get(edited_id)
        return WatchedEdit(row=row, queue_position=position)

    def page(
        self,
        limit: int,
        after: PageCursor | None,
        *,
        state: JobState | None = None,
        job_id: UUID | None = None,
    ) -> Sequence[WatchedEdit]:
        """List edited RTSTRUCTs, newest first; raises ContourJobNotFoundError."""
        with self._new_unit_of_work() as uow:
            if job_id is not None:
                uow.contour_jobs.get(job_id)
            rows = uow.edited_rtstructs.page(limit, after, state=state, job_id=job_id)
            positions = uow.edited_rtstructs.queue_positions(rows)
        return [WatchedEdit(row=row, queue_position=positions.get(row.id)) for row in rows]

    def rtstruct(self, edited_id: UUID) -> StoredFile | HeldFile:
        """Return the file as it was sent.

        Raises:
            EditedRtstructNotFoundError: no row has the id.
            EditedRtstructPurgedError: it was removed.
            SealUnreadableError: it is sealed, and cannot be opened.
        """
        with self._new_unit_of_work() as uow:
            row = uow.edited_rtstructs.get(edited_id)
            series = uow.series.get(uow.contour_jobs.get(row.job_id).series_id)
            if row.purged_at is not None:
                raise EditedRtstructPurgedError(edited_id)
            name = SEALED_NAME if series.is_deidentified else RTSTRUCT_NAME
            path = self._storage.file(StoredKind.EDITED_RTSTRUCTS, edited_id, name)
            uow.audit.record(Action.EDITED_RTSTRUCT_READ, ResourceKind.EDITED_RTSTRUCT, edited_id)
            uow.commit()
        if series.is_deidentified:
            return held_file(self._identities.unseal(row.content_sha256, path.read_bytes()))
        return stored_file(path)

    def delete(self, edited_id: UUID) -> Deletion:
        """Delete the file and what datasets collected of it; its scores stay.

        Raises:
            EditedRtstructNotFoundError: no row has the id.
            EditedRtstructInUseError: its comparison, or a dataset version that reads it, has not
                ended.
        """
        with self._new_unit_of_work() as uow:
            row = uow.edited_rtstructs.get_locked(edited_id)
            deletion = None
            if row.purged_at is not None:
                deletion = uow.deletions.find_of(
                    (ResourceKind.EDITED_RTSTRUCT, edited_id),
                    (ResourceKind.CONTOUR_JOB, row.job_id),
                    (ResourceKind.SERIES, uow.contour_jobs.get(row.job_id).series_id),
                )
            if deletion is None:
                if not row.state.is_terminal:
                    raise EditedRtstructInUseError(edited_id)
                version_id = uow.edited_rtstructs.find_reader([edited_id])
                if version_id is not None:
                    raise EditedRtstructInUseError(edited_id, version_id)
                erased = uow.erasure.edits([edited_id], with_sources=True)
                deletion = begin_deletion(uow, ResourceKind.EDITED_RTSTRUCT, edited_id, erased)
                uow.commit()
        return finish_deletion(self._new_unit_of_work, self._storage, deletion)

    def _publish(self, file: CheckedEdit, added: AddedEdit) -> None:
        """Bring the file into storage, as the last step before the commit.

        Where that commit fails, a file without a row is left, which housekeeping removes.
        """
        if added.needs_file:
            self._storage.publish(StoredKind.EDITED_RTSTRUCTS, file.folder, added.row.id)


def _add(uow: UnitOfWork, origin: EditOrigin, file: CheckedEdit, request: WorkRequest) -> AddedEdit:
    """Bring the row into the open transaction, with the message that its commit sends."""
    added = uow.edited_rtstructs.add(
        NewEdit(
            job_id=origin.job_id,
            review_id=origin.review_id,
            reviewer=origin.reviewer,
            content_sha256=file.content_sha256,
            byte_count=file.byte_count,
        ),
        correlation_id=request.correlation_id,
        max_attempts=request.max_attempts,
    )
    if added.needs_work:
        uow.enqueue(TaskName.EDITED_RTSTRUCT_COMPARE, added.row.id)
    return added


def _check_belongs(series: Series, file: CheckedEdit) -> None:
    frames, named = file.frame_of_reference_uids, file.series_instance_uids
    if series.frame_of_reference_uid not in frames:
        raise WrongFrameOfReferenceError(series.frame_of_reference_uid, frames)
    if named and series.series_instance_uid not in named:
        raise WrongSeriesError(series.series_instance_uid, named)


def _check_review(uow: UnitOfWork, origin: EditOrigin) -> None:
    if origin.review_id is None:
        return
    review = uow.reviews.get(origin.review_id)
    if (review.job_id, review.reviewer) != (origin.job_id, origin.reviewer):
        raise WrongReviewError(origin.review_id)
