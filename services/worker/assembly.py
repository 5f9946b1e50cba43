"""Puts a worker together: the Celery application, its task, and what happens around a fork."""

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from celery import Celery, signals

from services.core.database import create_database_engine, create_sessions, wait_for_database
from services.core.errors import ServiceError
from services.core.lifecycle import AliasName
from services.core.logging import configure_logging, get_logger, log_context
from services.core.queue import QUEUE_OF, CeleryQueue, QueueName, TaskName, create_celery
from services.core.storage import FilesystemStorage
from services.core.storage_facts import StorageFacts
from services.core.unit_of_work import UnitOfWork
from services.core.version import software_version
from services.worker.context import WorkerContext, WorkerTimes
from services.worker.housekeeping import Housekeeper
from services.worker.leased_work import run_leased
from services.worker.monitoring import StorageMeter
from services.worker.network_cache import NetworkCache
from services.worker.networks import NetworkLoader, NetworkOptions
from services.worker.tasks import WORK

if TYPE_CHECKING:
    # Only composition roots read settings; this module is handed them.
    from services.core.settings import Settings

log = get_logger(__name__)

CHILD_START_SECONDS = 300.0
"""A child that loads a network on a busy machine is not dead; Celery's default is 4 s."""

LOST_RESULT_SECONDS = 1.0
"""A killed child's result is not waited for any longer, since nobody reads results; Celery's
default keeps the worker from the next job for 10 s."""

SOFT_SHUTDOWN_SECONDS = 10.0
"""On a cold shutdown (SIGQUIT) a running job gets this long to end."""


def create_worker(settings: "Settings", load: NetworkLoader) -> Celery:
    """Build the application that `celery -A` runs; children load their network at their start."""
    app = _celery(settings)
    app.conf.update(
        worker_hijack_root_logger=False,
        worker_proc_alive_timeout=CHILD_START_SECONDS,
        worker_lost_wait=LOST_RESULT_SECONDS,
        worker_max_tasks_per_child=settings.jobs_per_process,
        worker_soft_shutdown_timeout=SOFT_SHUTDOWN_SECONDS,
    )
    process = _Process(settings, load)
    _connect(process, settings.log_level)

    for task in WORK:
        _register(app, task, process, _time_limit_seconds(settings, task))
    return app


def _register(app: Celery, task: TaskName, process: "_Process", limits: tuple[int, int]) -> None:
    soft, hard = limits

    @app.task(name=task.value, soft_time_limit=soft, time_limit=hard)
    def run(resource_id: str) -> None:
        with log_context(task=task.value):
            run_leased(process.context, task, UUID(resource_id), WORK[task]())


def _time_limit_seconds(settings: "Settings", task: TaskName) -> tuple[int, int]:
    """Return when a task is asked to end and when it is killed."""
    if QUEUE_OF[task] is QueueName.TRAINING:
        return 0, 0  # no limit: a training has its budget instead, and may take days
    seconds = settings.job_time_limit_seconds
    if QUEUE_OF[task] is QueueName.DATA:
        seconds = settings.data_time_limit_seconds
    return seconds, seconds + settings.job_kill_grace_seconds


class _Process:
    """What one operating system process of the worker holds, before and after the fork."""

    def __init__(self, settings: "Settings", load: NetworkLoader) -> None:
        self._settings = settings
        self._load = load
        self.name = ""
        self.queues: frozenset[QueueName] = frozenset()

    def remember_command_line(self, sender: str, instance: Any, **_: object) -> None:  # noqa: ANN401 (Celery's worker object)
        """Note in the parent which worker this is, for the children to inherit."""
        self.name = sender
        self.queues = frozenset(QueueName(name) for name in instance.app.amqp.queues.consume_from)

    def start(self, **_: object) -> None:
        """Build everything in the child and load the network if this worker contours."""
        self.context = _create_context(self._settings, self._load, self.name, self.queues)
        self._housekeeper = Housekeeper(self.context)
        self._housekeeper.start()
        self._meter = None
        if QueueName.DATA in self.queues:  # one kind of worker is enough to look through files
            self._meter = StorageMeter(self.context, StorageFacts(self._settings.data_dir))
            self._meter.start()
        if QueueName.INFERENCE in self.queues:
            try:
                load_production(self.context)
            except Exception:
                # Outermost frame of the start: Celery would swallow the error and go on.
                log.exception("no network, no worker")
                os.kill(os.getppid(), signal.SIGTERM)

    def stop(self, **_: object) -> None:
        """Sign off."""
        if self._meter is not None:
            self._meter.stop()
        self._housekeeper.stop()
        self.context.engine.dispose()


def load_production(worker: WorkerContext) -> None:
    """Load the network that contours the next job.

    A version that cannot be loaded is logged and left to its jobs, which then fail with the
    reason: the worker must live to serve the version that somebody rolls back to.

    Raises:
        DatabaseUnavailableError: what production means cannot be read.
        ServiceError: the weights of the settings cannot be loaded.
    """
    wait_for_database(worker.engine, worker.times.lease_seconds)
    with worker.unit_of_work() as uow:
        production = uow.model_aliases.served(AliasName.PRODUCTION)
    try:
        worker.networks.get(production)
    except ServiceError as error:
        if production is None:
            raise
        log.error("production cannot be loaded", code=str(error.code), **error.context)  # noqa: TRY400 (the code says it)


def _connect(process: _Process, log_level: str) -> None:
    def set_up_logging(**_: object) -> None:
        configure_logging(log_level)

    handlers: tuple[tuple[Any, Callable[..., None]], ...] = (  # Any: celery's Signal is untyped
        (signals.setup_logging, set_up_logging),
        (signals.celeryd_after_setup, process.remember_command_line),
        (signals.worker_process_init, process.start),
        (signals.worker_process_shutdown, process.stop),
    )
    for event, handler in handlers:
        event.connect(handler, weak=False)


def _create_context(
    settings: "Settings", load: NetworkLoader, name: str, queues: frozenset[QueueName]
) -> WorkerContext:
    engine = create_database_engine(settings.database_url.get_secret_value())
    sessions = create_sessions(engine)
    # A Celery of its own: the parent's connections do not survive the fork.
    queue = CeleryQueue(_celery(settings))
    storage = FilesystemStorage(settings.data_dir)
    return WorkerContext(
        name=name,
        queues=queues,
        engine=engine,
        storage=storage,
        networks=NetworkCache(_network_options(settings), load, storage),
        times=_times(settings),
        software_version=software_version(),
        datasets_dir=settings.datasets_dir,
        max_attempts=settings.max_attempts,
        unit_of_work=lambda: UnitOfWork(sessions, queue),
        alive_file=settings.alive_file,
    )


def _celery(settings: "Settings") -> Celery:
    return create_celery(
        settings.broker_url.get_secret_value(),
        settings.broker_dir,
        settings.visibility_timeout_seconds,
    )


def _network_options(settings: "Settings") -> NetworkOptions:
    return NetworkOptions(
        weights_path=settings.weights_path,
        device=settings.device.value,
        batch_size=settings.batch_size,
        thread_count=settings.thread_count,
    )


def _times(settings: "Settings") -> WorkerTimes:
    return WorkerTimes(
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        sweep_seconds=settings.sweep_seconds,
        resend_seconds=settings.resend_seconds,
        retention_seconds=settings.retention_seconds,
        result_retention_days=settings.result_retention_days,
        edited_retention_days=settings.edited_retention_days,
        unused_series_retention_days=settings.unused_series_retention_days,
        idempotency_retention_hours=settings.idempotency_retention_hours,
        stale_upload_hours=settings.stale_upload_hours,
    )
