"""Work done in this process, as the Celery tasks do it."""

from uuid import UUID

from services.core.queue import TaskName
from services.worker.context import WorkerContext
from services.worker.leased_work import run_leased
from services.worker.tasks import WORK


def run_task(worker: WorkerContext, task: TaskName, resource_id: UUID) -> None:
    """Bring a queued row to its end; leave when there is nothing to do."""
    run_leased(worker, task, resource_id, WORK[task]())


def run_contour_job(worker: WorkerContext, job_id: UUID) -> None:
    run_task(worker, TaskName.CONTOUR_JOB_RUN, job_id)


def train(worker: WorkerContext, run_id: UUID) -> None:
    run_task(worker, TaskName.RUN_TRAIN, run_id)
