"""CT series: checked, stored once a content, listed and deleted."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from services.api.idempotency import KeyedRoute, RequestKey
from services.api.series.errors import SeriesInUseError
from services.api.uploads.stream import Upload
from services.core.lifecycle import ACTIVE_STATES
from services.core.repositories.paging import PageCursor
from services.core.storage import Storage, StoredKind, slice_name
from services.core.tables.contouring import Series
from services.core.tables.reviews import EditedRtstruct
from services.core.unit_of_work import UnitOfWork

if TYPE_CHECKING:
    from ml.dicom.series import SeriesIndex, SkippedFile


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedSeries:
    """An upload that is one usable CT series; its files lie ready in a folder of their own."""

    index: "SeriesIndex"
    content_sha256: str
    byte_count: int
    folder: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class PostedSeries:
    """What became of an upload."""

    series: Series
    is_new: bool
    """False when the same content is in storage already."""
    skipped: "tuple[SkippedFile, ...]"


class SeriesService:
    """CT series in the words of the domain."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork], storage: Storage) -> None:
        self._new_unit_of_work = new_unit_of_work
        self._storage = storage

    def post(self, upload: Upload, idempotency_key: str | None) -> PostedSeries:
        """Store the upload as a series, or find it there.

        Raises:
            UploadError: the files cannot be unpacked within the limits.
            DicomError: the files are not one usable CT series.
            IdempotencyKeyReusedError: the key came with a different series.
        """
        checked = check_upload(upload)
        key = RequestKey(
            route=KeyedRoute.SERIES,
            key=idempotency_key,
            request_sha256=checked.content_sha256,
        )
        with self._new_unit_of_work() as uow:
            posted = add_series(uow, checked)
            key.remember(uow, posted.series.id)
            publish_series(self._storage, checked, posted)
            uow.commit()
        return posted

    def get(self, series_id: UUID) -> Series:
        """Return a series; raises SeriesNotFoundError."""
        with self._new_unit_of_work() as uow:
            return uow.series.get(series_id)

    def page(self, limit: int, after: PageCursor | None) -> Sequence[Series]:
        """List series, newest first, from behind a cursor."""
        with self._new_unit_of_work() as uow:
            return uow.series.page(limit, after)

    def delete(self, series_id: UUID) -> None:
        """Remove the files of a series, the results of its jobs and their edits; the rows stay.

        Raises:
            SeriesNotFoundError: no row has the id.
            SeriesInUseError: a job of the series, or the comparison of an edit, has not ended.
        """
        with self._new_unit_of_work() as uow:
            uow.series.get_locked(series_id)
            for state in ACTIVE_STATES:
                for job in uow.contour_jobs.page(1, state=state, series_id=series_id):
                    raise SeriesInUseError(series_id, job.id)
            uow.contour_jobs.lock_of_series(series_id)  # no edit is added to them any more
            for edited in _kept_edits(uow, series_id):
                uow.edited_rtstructs.purge(edited.id, even_if_awaited=True)
                self._storage.delete(StoredKind.EDITED_RTSTRUCTS, edited.id)
            after: PageCursor | None = None
            while jobs := uow.contour_jobs.page(100, after, series_id=series_id):
                for job in jobs:
                    self._purge_job(uow, job.id)
                after = PageCursor(created_at=jobs[-1].created_at, id=jobs[-1].id)
            if uow.series.purge(series_id):
                self._storage.delete(StoredKind.SERIES, series_id)
            uow.commit()

    def _purge_job(self, uow: UnitOfWork, job_id: UUID) -> None:
        if uow.contour_jobs.purge(job_id):
            self._storage.delete(StoredKind.RESULTS, job_id)
            for shadow_id in uow.shadow_contours.purge_of(job_id):
                self._storage.delete(StoredKind.SHADOW_RESULTS, shadow_id)


def _kept_edits(uow: UnitOfWork, series_id: UUID) -> Sequence[EditedRtstruct]:
    """Return the edited RTSTRUCTs with files of a series' jobs, which were locked before.

    Raises:
        SeriesInUseError: the comparison of one has not ended.
    """
    kept = uow.edited_rtstructs.kept_of_series(series_id)
    for edited in kept:
        if not edited.state.is_terminal:
            raise SeriesInUseError(series_id, edited.job_id, edited.id)
    return kept


def check_upload(upload: Upload) -> CheckedSeries:
    """Unpack an upload, check that it is one usable CT series and order its slices; blocks.

    Raises:
        UploadError: the files cannot be unpacked within the limits.
        DicomError: the files are not one usable CT series.
    """
    # Imported late: pydicom and numpy are a third of the API's import time. The lifespan imports
    # them in a thread, so that no upload waits.
    from ml.dicom.series import SourceFile, index_series  # noqa: PLC0415

    files = upload.unpack()
    index = index_series([SourceFile(path=file.path, name=file.name) for file in files])
    digest = hashlib.sha256()
    folder = upload.folder / "series"
    folder.mkdir()
    byte_count = 0
    for number, instance in enumerate(index.instances, start=1):
        with instance.path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        byte_count += instance.path.stat().st_size
        instance.path.rename(folder / slice_name(number))
    return CheckedSeries(
        index=index,
        content_sha256=digest.hexdigest(),
        byte_count=byte_count,
        folder=folder,
    )


def add_series(uow: UnitOfWork, checked: CheckedSeries) -> PostedSeries:
    """Bring the row of a checked series into the open transaction, or lock the one it has."""
    index, geometry = checked.index, checked.index.geometry
    series, needs_files = uow.series.get_or_create(
        Series(
            id=uuid4(),
            content_sha256=checked.content_sha256,
            series_instance_uid=index.series_instance_uid,
            study_instance_uid=index.study_instance_uid,
            frame_of_reference_uid=index.frame_of_reference_uid,
            patient_position=index.patient_position,
            slice_count=geometry.shape[0],
            rows=geometry.rows,
            columns=geometry.columns,
            spacing_mm=list(geometry.spacing_mm),
            extent_mm=list(geometry.extent_mm),
            byte_count=checked.byte_count,
        )
    )
    return PostedSeries(series=series, is_new=needs_files, skipped=index.skipped)


def publish_series(storage: Storage, checked: CheckedSeries, posted: PostedSeries) -> None:
    """Bring the files of a series into storage, as the last step before the commit.

    Where that commit fails, files without a row are left, which housekeeping removes.
    """
    if posted.is_new:
        storage.publish_once(StoredKind.SERIES, checked.folder, posted.series.id)
