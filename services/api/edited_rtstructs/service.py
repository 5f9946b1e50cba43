"""Edited RTSTRUCTs: taken in, compared by a worker, given away again."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from ml.dicom.errors import DicomError
from services.api.downloads import StoredFile, stored_file
from services.api.edited_rtstructs.errors import (
    EditedRtstructInvalidError,
    WrongFrameOfReferenceError,
    WrongReviewError,
    WrongSeriesError,
)
from services.api.idempotency import KeyedRoute, RequestKey, WorkRequest, text_sha256
from services.api.uploads.stream import ReceivedFile
from services.api.work import check_has_result
from services.core.errors import EditedRtstructPurgedError
from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.repositories.edited_rtstructs import AddedEdit, NewEdit
from services.core.repositories.paging import PageCursor
from services.core.storage import RTSTRUCT_NAME, Storage, StoredKind
from services.core.tables.contouring import Series
from services.core.tables.reviews import EditedRtstruct
from services.core.unit_of_work import UnitOfWork

if TYPE_CHECKING:
    from ml.dicom.rtstruct_references import StructureSetReferences


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

    def check(self, origin: EditOrigin) -> None:
        """Return if an edit may be sent; asked before its bytes are received.

        Raises:
            ContourJobNotFoundError: no row has the id.
            JobNotFinishedError, JobFailedError, JobCancelledError, ResultPurgedError: the job has
                no result that could be compared.
            ReviewNotFoundError: no review has the id.
            WrongReviewError: the review is of another job or reader.
        """
        with self._new_unit_of_work() as uow:
            check_has_result(uow.contour_jobs.get(origin.job_id))
            _check_review(uow, origin)

    def post(
        self, origin: EditOrigin, file: ReceivedFile, request: WorkRequest
    ) -> tuple[WatchedEdit, bool]:
        """Keep a file and have it compared, or find it; blocks.

        Returns:
            The one row of the file, and whether its comparison was queued by this request.

        Raises:
            EditedRtstructInvalidError: the file is no usable RT Structure Set.
            WrongFrameOfReferenceError, WrongSeriesError: it belongs to another CT.
            IdempotencyKeyReusedError: the key came with a different file.
            what check() raises.
        """
        references = _references(file)
        with file.path.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        key = RequestKey(
            route=KeyedRoute.EDITED_RTSTRUCTS,
            key=request.idempotency_key,
            request_sha256=text_sha256(f"{origin} {sha256}"),
        )
        with self._new_unit_of_work() as uow:
            edited_id, is_queued = key.find(uow), False
            if edited_id is None:
                job = uow.contour_jobs.get_locked(origin.job_id)
                check_has_result(job)
                _check_review(uow, origin)
                _check_belongs(uow.series.get(job.series_id), references)
                added = _add(uow, origin, file, sha256, request)
                edited_id = key.remember(uow, added.row.id)
                if edited_id == added.row.id:
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

    def rtstruct(self, edited_id: UUID) -> StoredFile:
        """Return the file as it was sent.

        Raises:
            EditedRtstructNotFoundError: no row has the id.
            EditedRtstructPurgedError: it was removed.
        """
        row = self.get(edited_id).row
        if row.purged_at is not None:
            raise EditedRtstructPurgedError(edited_id)
        return stored_file(
            self._storage.file(StoredKind.EDITED_RTSTRUCTS, edited_id, RTSTRUCT_NAME)
        )

    def _publish(self, file: ReceivedFile, added: AddedEdit) -> None:
        """Bring the file into storage, as the last step before the commit.

        Where that commit fails, a file without a row is left, which housekeeping removes.
        """
        if added.needs_file:
            folder = file.folder / "edited"
            folder.mkdir()
            file.path.rename(folder / RTSTRUCT_NAME)
            self._storage.publish(StoredKind.EDITED_RTSTRUCTS, folder, added.row.id)


def _add(
    uow: UnitOfWork, origin: EditOrigin, file: ReceivedFile, sha256: str, request: WorkRequest
) -> AddedEdit:
    """Bring the row into the open transaction, with the message that its commit sends."""
    added = uow.edited_rtstructs.add(
        NewEdit(
            job_id=origin.job_id,
            review_id=origin.review_id,
            reviewer=origin.reviewer,
            content_sha256=sha256,
            byte_count=file.byte_count,
        ),
        correlation_id=request.correlation_id,
        max_attempts=request.max_attempts,
    )
    if added.needs_work:
        uow.enqueue(TaskName.EDITED_RTSTRUCT_COMPARE, added.row.id)
    return added


def _references(file: ReceivedFile) -> "StructureSetReferences":
    # Imported late, as all that needs pydicom; see services.api.series.service.
    from ml.dicom.rtstruct_references import read_references  # noqa: PLC0415

    try:
        return read_references(file.path)
    except DicomError as error:
        raise EditedRtstructInvalidError(error.message, error.facts) from error


def _check_belongs(series: Series, references: "StructureSetReferences") -> None:
    frames, named = references.frame_of_reference_uids, references.series_instance_uids
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
