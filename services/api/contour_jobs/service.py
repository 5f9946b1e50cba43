"""Contour jobs: asked for, watched, cancelled, and their RTSTRUCT."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.api.contour_jobs.errors import ContourJobInUseError
from services.api.contour_jobs.relinking import RelinkOrder
from services.api.downloads import StoredFile, stored_file
from services.api.idempotency import KeyedRoute, RequestKey, WorkRequest, text_sha256
from services.api.identities import Identities
from services.api.removal import finish_deletion
from services.api.work import check_has_result
from services.core.audit import Action, ResourceKind
from services.core.deletion import begin_deletion
from services.core.errors import SeriesPurgedError
from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.repositories.paging import PageCursor
from services.core.storage import RTSTRUCT_NAME, SEALED_NAME, Storage, StoredKind
from services.core.tables.audit import Deletion
from services.core.tables.contouring import ContourJob
from services.core.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedJob:
    """A job and its place in the queue."""

    job: ContourJob
    queue_position: int | None
    """Queued jobs that run before it; None once it left the queue."""


class ContourJobService:
    """Contour jobs in the words of the domain."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork], storage: Storage) -> None:
        self._new_unit_of_work = new_unit_of_work
        self._storage = storage

    def post(self, series_id: UUID, request: WorkRequest) -> WatchedJob:
        """Queue a job, or return the one that the same keyed request made before.

        Raises:
            SeriesNotFoundError: no row has the id.
            SeriesPurgedError: the files of the series were removed.
            IdempotencyKeyReusedError: the key came with a different series.
        """
        key = RequestKey(
            route=KeyedRoute.CONTOUR_JOBS,
            key=request.idempotency_key,
            request_sha256=text_sha256(str(series_id)),
        )
        with self._new_unit_of_work() as uow:
            job_id = key.find(uow)
            if job_id is None:
                job = queue_job(uow, series_id, request)
                job_id = key.remember(uow, job.id)
                if job_id == job.id:
                    uow.commit()
                    return _watched(uow, job)
        # Made before, or by the same request at the same moment: nothing of this one stays.
        return self.get(job_id)

    def get(self, job_id: UUID) -> WatchedJob:
        """Return a job; raises ContourJobNotFoundError."""
        with self._new_unit_of_work() as uow:
            return _watched(uow, uow.contour_jobs.get(job_id))

    def page(
        self,
        limit: int,
        after: PageCursor | None,
        *,
        state: JobState | None,
        series_id: UUID | None,
    ) -> Sequence[WatchedJob]:
        """List jobs, newest first, from behind a cursor."""
        with self._new_unit_of_work() as uow:
            jobs = uow.contour_jobs.page(limit, after, state=state, series_id=series_id)
            positions = uow.contour_jobs.queue_positions(jobs)
        return [WatchedJob(job=job, queue_position=positions.get(job.id)) for job in jobs]

    def cancel(self, job_id: UUID) -> WatchedJob:
        """End a queued job and ask a running one to stop.

        Raises:
            ContourJobNotFoundError: no row has the id.
            IllegalTransitionError: the job succeeded or failed before.
        """
        with self._new_unit_of_work() as uow:
            job = uow.contour_jobs.request_cancel(job_id)
            uow.audit.record(Action.CONTOUR_JOB_CANCELLED, ResourceKind.CONTOUR_JOB, job_id)
            uow.commit()
            return _watched(uow, job)

    def rtstruct(self, job_id: UUID) -> StoredFile | RelinkOrder:
        """Return what the job released, or how it is linked back to the sender's CT.

        Raises:
            ContourJobNotFoundError: no row has the id.
            JobNotFinishedError: there is no result yet.
            JobFailedError: there will be none.
            JobCancelledError: there will be none.
            ResultPurgedError: there was one.
        """
        with self._new_unit_of_work() as uow:
            job = uow.contour_jobs.get(job_id)
            series = uow.series.get(job.series_id)
            check_has_result(job)
            path = self._storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME)
            uow.audit.record(Action.RTSTRUCT_READ, ResourceKind.CONTOUR_JOB, job_id)
            uow.commit()
        if not series.is_deidentified:
            return stored_file(path)
        return RelinkOrder(
            rtstruct=path,
            series=self._storage.folder(StoredKind.SERIES, series.id),
            sealed=self._storage.file(StoredKind.SERIES, series.id, SEALED_NAME),
            owner=series.content_sha256,
            identities=Identities(self._storage),
        )

    def delete(self, job_id: UUID) -> Deletion:
        """Delete the result of a job, what shadows made of it, and its edits; the series stays.

        Raises:
            ContourJobNotFoundError: no row has the id.
            ContourJobInUseError: the job, the comparison of an edit, or a dataset version that
                reads one has not ended.
        """
        with self._new_unit_of_work() as uow:
            job = uow.contour_jobs.get_locked(job_id)
            deletion = None
            if job.purged_at is not None:
                deletion = uow.deletions.find_of(
                    (ResourceKind.CONTOUR_JOB, job_id), (ResourceKind.SERIES, job.series_id)
                )
            if deletion is None:
                _check_unused(uow, job)
                erased = uow.erasure.jobs([job_id], with_sources=True)
                deletion = begin_deletion(uow, ResourceKind.CONTOUR_JOB, job_id, erased)
                uow.commit()
        return finish_deletion(self._new_unit_of_work, self._storage, deletion)


def queue_job(uow: UnitOfWork, series_id: UUID, request: WorkRequest) -> ContourJob:
    """Bring a job into the open transaction, with the message that its commit sends.

    Raises:
        SeriesNotFoundError: no row has the id.
        SeriesPurgedError: the files of the series were removed.
    """
    if uow.series.get_locked(series_id).purged_at is not None:
        raise SeriesPurgedError(series_id)
    job = uow.contour_jobs.add(
        series_id, correlation_id=request.correlation_id, max_attempts=request.max_attempts
    )
    uow.enqueue(TaskName.CONTOUR_JOB_RUN, job.id)
    uow.audit.record(
        Action.CONTOUR_JOB_SUBMITTED,
        ResourceKind.CONTOUR_JOB,
        job.id,
        series_id=str(series_id),
    )
    return job


def _check_unused(uow: UnitOfWork, job: ContourJob) -> None:
    """Return if nothing that has not ended needs a job, which was locked before.

    Raises:
        ContourJobInUseError: something does.
    """
    if not job.state.is_terminal:
        raise ContourJobInUseError(job.id)
    edits = uow.edited_rtstructs.of_job(job.id)
    for edited in edits:
        if not edited.state.is_terminal:
            raise ContourJobInUseError(job.id, edited_rtstruct=edited.id)
    version_id = uow.edited_rtstructs.find_reader([edited.id for edited in edits])
    if version_id is not None:
        raise ContourJobInUseError(job.id, dataset_version=version_id)


def _watched(uow: UnitOfWork, job: ContourJob) -> WatchedJob:
    return WatchedJob(job=job, queue_position=uow.contour_jobs.queue_position(job))
