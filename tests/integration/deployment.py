"""The service on one pair of database and broker, driven by a test."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import redis
import sqlalchemy as sa

from services.core.database import create_sessions, utc_now
from services.core.errors import QueueUnavailableError
from services.core.lifecycle import JobState
from services.core.queue import (
    CeleryQueue,
    JobQueue,
    Message,
    QueueName,
    TaskName,
    create_celery,
)
from services.core.repositories.leases import TABLE_OF
from services.core.storage import FilesystemStorage, StoredKind, slice_name
from services.core.tables.contouring import ContourJob
from services.core.tables.operations import WorkerHeartbeat
from services.core.unit_of_work import UnitOfWork
from services.embedded.api_command import api_command
from services.embedded.children import Child
from services.embedded.ports import free_port
from services.embedded.supervisor import API_APP, worker_command
from tests import waiting
from tests.factories.access import add_key, bearer
from tests.factories.engines import create_patient_engine
from tests.factories.rows import make_series
from tests.factories.uploads import encode, make_slice
from tests.integration.gates import GATE_VARIABLE, Gate

WORKER_APP = "tests.integration.slow_worker"
SLICES = 3
SIZE = 32
PATIENCE_SECONDS = 240.0
"""For several trainings in turn, on a machine that has other work."""
ANSWER_SECONDS = 60.0
LEASE_SECONDS = 300.0
"""Longer than a living worker falls silent on any machine: tests count starts, and end the lease of
a dead one themselves. One for all workers of a database: each takes much longer leases than its own
for those of a wrong clock."""
SILENT_SECONDS = 600.0
PARSE_SECONDS = 300.0
"""For a process of its own to read one upload, on a machine that has other work."""

SHORT_TIMES = {
    "CERVICONTOUR_LEASE_SECONDS": str(LEASE_SECONDS),
    "CERVICONTOUR_HEARTBEAT_SECONDS": "0.3",
    "CERVICONTOUR_SWEEP_SECONDS": "0.5",
    "CERVICONTOUR_RESEND_SECONDS": "1.5",
    "CERVICONTOUR_WORKER_SILENT_SECONDS": str(SILENT_SECONDS),
    "CERVICONTOUR_PARSE_TIME_LIMIT_SECONDS": str(PARSE_SECONDS),
}


class Mode(StrEnum):
    """The pairs of database and broker."""

    EMBEDDED = "sqlite-and-folder"
    SERVERS = "postgresql-and-redis"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A database that was migrated, and a broker."""

    database_url: str
    broker_url: str


@dataclass(kw_only=True)
class Deployment:
    """Rows, storage and broker of one pair, and the workers a test starts on them."""

    root: Path
    pair: Pair
    engine: sa.Engine = field(init=False)
    storage: FilesystemStorage = field(init=False)
    gate: Gate = field(init=False)
    queue: JobQueue = field(init=False)
    unit_of_work: Callable[[], UnitOfWork] = field(init=False)
    workers: list[Child] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = create_patient_engine(self.pair.database_url)
        self.storage = FilesystemStorage(self.root)
        self.gate = Gate(self.root / "gate")
        self.queue = CeleryQueue(create_celery(self.pair.broker_url, self.root / "broker"))
        sessions = create_sessions(self.engine)
        self.unit_of_work = lambda: UnitOfWork(sessions, self.queue)

    @property
    def environment(self) -> dict[str, str]:
        """Settings of every process of the deployment."""
        return {
            **os.environ,
            **SHORT_TIMES,
            "CERVICONTOUR_DATA_DIR": str(self.root),
            "CERVICONTOUR_DATABASE_URL": self.pair.database_url,
            "CERVICONTOUR_BROKER_URL": self.pair.broker_url,
            GATE_VARIABLE: str(self.root / "gate"),
            "OMP_NUM_THREADS": "1",
            # Children write no coverage, whose start would slow each of them down.
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }

    @property
    def has_folder_of_messages(self) -> bool:
        return self.pair.broker_url.startswith("filesystem")

    def start_worker(
        self,
        name: str = "first",
        queue: QueueName = QueueName.INFERENCE,
        app: str = WORKER_APP,
        **variables: str,
    ) -> Child:
        """A worker that has reported itself, and its network as loaded if it contours."""
        log_path = self.root / f"worker-{name}.log"
        command = worker_command(app, queue, name)
        worker = Child(name, command, self.environment | variables, log_path)
        self.workers.append(worker)

        def is_ready() -> bool:
            worker.check()
            return any(
                (w.weights_loaded or queue is not QueueName.INFERENCE)
                and w.name == f"{queue}@{name}"
                for w in self.heartbeats()
            )

        wait_until(is_ready)
        return worker

    @contextmanager
    def serve(self, **variables: str) -> Iterator[httpx.Client]:
        """The API as a process of its own, and a client that speaks with it as an administrator."""
        port = free_port()
        server = Child(
            "api",
            api_command(API_APP, "127.0.0.1", port),
            self.environment | variables,
            self.root / "api.log",
        )
        address = f"http://127.0.0.1:{port}"
        headers = bearer(add_key(self.unit_of_work))
        with httpx.Client(
            base_url=address, headers=headers, trust_env=False, timeout=ANSWER_SECONDS
        ) as client:

            def is_up() -> bool:
                server.check()
                try:
                    return client.get("/health/live").is_success
                except httpx.TransportError:
                    return False

            try:
                wait_until(is_up)
                yield client
            finally:
                server.stop(10)

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
        self.engine.dispose()

    def heartbeats(self) -> list[WorkerHeartbeat]:
        with self.unit_of_work() as uow:
            return uow.workers.seen_within(SILENT_SECONDS)

    def post_job(
        self, *, hold: bool = False, poison: bool = False, send: bool = True, max_attempts: int = 3
    ) -> UUID:
        """A committed job on a stored series of three slices."""
        with self.unit_of_work() as uow, self.storage.staging() as folder:
            for number in range(1, SLICES + 1):
                slice_bytes = encode(make_slice(number, SIZE))
                (folder / slice_name(number)).write_bytes(slice_bytes)
            series, _ = uow.series.get_or_create(make_series())
            self.storage.publish_once(StoredKind.SERIES, folder, series.id)
            job = uow.contour_jobs.add(
                series.id, correlation_id=f"request-{uuid4().hex[:8]}", max_attempts=max_attempts
            )
            if hold:
                self.gate.hold(job.id)
            if poison:
                self.gate.poison(job.id)
            if send:
                uow.enqueue(TaskName.CONTOUR_JOB_RUN, job.id)
            uow.commit()
        return job.id

    def job(self, job_id: UUID) -> ContourJob:
        with self.unit_of_work() as uow:
            return uow.contour_jobs.get(job_id)

    def wait_for(self, job_id: UUID, state: JobState) -> ContourJob:
        """The job once it is in a state; fails at once when it ended in another."""

        def is_there() -> bool:
            job = self.job(job_id)
            assert job.state is state or not job.state.is_terminal, (job.state, job.error_detail)
            return job.state is state

        wait_until(is_there)
        return self.job(job_id)

    def end_lease(self, task: TaskName, resource_id: UUID) -> None:
        """Have the lease of a holder that is dead or frozen run out now, not in a while."""
        assert end_leases(self.engine, task, TABLE_OF[task].id == resource_id) == 1

    def ring(self, task: TaskName, resource_id: UUID, times: int = 1) -> None:
        """Send the message of a row so many times more, whatever housekeeping sends."""
        for _ in range(times):
            send_patiently(self.queue, Message(task=task, resource_id=resource_id))

    def wait_for_start(self, job_id: UUID, starts: int = 1) -> None:
        """Return once the network has the job for the given time."""
        wait_until(lambda: len(self.gate.processes_of(job_id)) >= starts)

    def lose_all_messages(self) -> None:
        """What a Redis without persistence does when it restarts."""
        if self.has_folder_of_messages:
            for message in (self.root / "broker").iterdir():
                message.unlink(missing_ok=True)  # a worker may take it at this moment
            return
        with redis.Redis.from_url(self.pair.broker_url) as client:
            client.flushdb()


def send_patiently(queue: JobQueue, message: Message) -> None:
    """Send a message until the broker takes it: the service gives up soon, and sends again later.

    One of which nobody knows whether it was taken is sent again, too.
    """

    def is_taken() -> bool:
        try:
            queue.send(message)
        except QueueUnavailableError:
            return False
        return True

    wait_until(is_taken)


def end_leases(engine: sa.Engine, task: TaskName, *which: sa.ColumnElement[bool]) -> int:
    """Have leases run out now whose holders are dead or frozen; return how many there were."""
    table = TABLE_OF[task]
    running = sa.and_(table.state == JobState.RUNNING, *which)
    with engine.begin() as connection:
        ended = connection.execute(sa.update(table).where(running).values(lease_until=utc_now()))
    return ended.rowcount


def wait_until(is_done: Callable[[], object]) -> None:
    waiting.wait_until(is_done, PATIENCE_SECONDS)
