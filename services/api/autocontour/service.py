"""A CT series in, a job out: both made in one transaction."""

from collections.abc import Callable
from dataclasses import dataclass

from services.api.contour_jobs.service import (
    ContourJobService,
    WatchedJob,
    queue_job,
)
from services.api.idempotency import KeyedRoute, RequestKey, WorkRequest
from services.api.series.checking import CheckedSeries
from services.api.series.service import (
    PostedSeries,
    add_series,
    publish_series,
    record_submission,
)
from services.core.storage import Storage
from services.core.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Autocontouring:
    """What one upload made."""

    posted: PostedSeries
    watched: WatchedJob


class AutocontourService:
    """Series and job in one step."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork], storage: Storage) -> None:
        self._new_unit_of_work = new_unit_of_work
        self._storage = storage
        self._jobs = ContourJobService(new_unit_of_work, storage)

    def post(self, checked: CheckedSeries, request: WorkRequest) -> Autocontouring:
        """Store a checked upload and queue its job, or return what the same keyed request made.

        Raises:
            IdempotencyKeyReusedError: the key came with a different series.
        """
        key = RequestKey(
            route=KeyedRoute.AUTOCONTOUR,
            key=request.idempotency_key,
            request_sha256=checked.content_sha256,
        )
        with self._new_unit_of_work() as uow:
            job_id = key.find(uow)
            posted = add_series(uow, checked)
            is_ours = posted.is_new
            if job_id is None:
                job = queue_job(uow, posted.series.id, request)
                job_id = key.remember(uow, job.id)
                is_ours = job_id == job.id
            if is_ours:  # else the same request was first, perhaps just now, and made all of it
                record_submission(uow, posted)
                publish_series(self._storage, checked, posted)
                uow.commit()
        return Autocontouring(posted=posted, watched=self._jobs.get(job_id))
