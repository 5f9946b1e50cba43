"""Contour jobs: asked for, watched, cancelled, and their RTSTRUCT."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.api.downloads import StoredFile, stored_file
from services.api.idempotency import KeyedRoute, RequestKey, WorkRequest, text_sha256
from services.api.work import check_has_result
from services.core.errors import SeriesPurgedError
from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.repositories.paging import PageCursor
from services.core.storage import RTSTRUCT_NAME, Storage, StoredKind
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
            uow.commit()
            return _watched(uow, job)

    def rtstruct(self, job_id: UUID) -> StoredFile:
        """Return what the job released.

        Raises:
            ContourJobNotFoundError: no row has the id.
            JobNotFinishedError: there is no result yet.
            JobFailedError: there will be none.
            JobCancelledError: there will be none.
            ResultPurgedError: there was one.
        """
        with self._new_unit_of_work() as uow:
            job = uow.contour_jobs.get(job_id)
        check_has_result(job)
        return stored_file(self._storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME))


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
    return job


def _watched(uow: UnitOfWork, job: ContourJob) -> WatchedJob:
    return WatchedJob(job=job, queue_position=uow.contour_jobs.queue_position(job))
