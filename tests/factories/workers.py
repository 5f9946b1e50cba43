"""Work done in this process, as the Celery tasks do it."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from services.core.database import create_database_engine
from services.core.queue import QueueName, TaskName
from services.core.storage import FilesystemStorage
from services.worker.context import WorkerContext, WorkerTimes
from services.worker.leased_work import run_leased
from services.worker.network_cache import NetworkCache
from services.worker.networks import NetworkOptions
from services.worker.tasks import WORK
from tests.factories.api import Api
from tests.fakes import ScriptedPredictor, loader_of

OPTIONS = NetworkOptions(weights_path=None, device="cpu", batch_size=4, thread_count=1)
TIMES = WorkerTimes(
    lease_seconds=600,  # of the real clock: longer than a test may take
    heartbeat_seconds=0.01,
    sweep_seconds=0.01,
    resend_seconds=60,
    retention_seconds=3600,
    result_retention_days=30,
    edited_retention_days=365,
    unused_series_retention_days=7,
    idempotency_retention_hours=24,
    stale_upload_hours=6,
)


def run_task(worker: WorkerContext, task: TaskName, resource_id: UUID) -> None:
    """Bring a queued row to its end; leave when there is nothing to do."""
    run_leased(worker, task, resource_id, WORK[task]())


def run_contour_job(worker: WorkerContext, job_id: UUID) -> None:
    run_task(worker, TaskName.CONTOUR_JOB_RUN, job_id)


def train(worker: WorkerContext, run_id: UUID) -> None:
    run_task(worker, TaskName.RUN_TRAIN, run_id)


@contextmanager
def worker_beside(api: Api) -> Iterator[WorkerContext]:
    """A worker on the database and storage of an API; it puts boxes for contours."""
    engine = create_database_engine(f"sqlite+pysqlite:///{api.data_dir / 'cervicontour.sqlite'}")
    storage = FilesystemStorage(api.data_dir)
    yield WorkerContext(
        name="inference@test",
        queues=frozenset({QueueName.INFERENCE}),
        engine=engine,
        storage=storage,
        networks=NetworkCache(OPTIONS, loader_of(ScriptedPredictor()), storage),
        times=TIMES,
        software_version="0.0.0",
        datasets_dir=None,
        max_attempts=3,
        unit_of_work=api.unit_of_work,
    )
    engine.dispose()
