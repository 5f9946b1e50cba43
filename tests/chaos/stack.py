"""The service as processes of one test: API, two workers and, in one mode, its servers.

with Stack(Mode.SERVERS) as stack:
    stack.kill("worker-1")
    stack.revive("worker-1")
"""

import datetime as dt
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType, TracebackType
from typing import Self
from uuid import UUID

import httpx
import psutil

from services.core.database import create_sessions, utc_now
from services.core.migrations import upgrade_database
from services.core.queue import CeleryQueue, Message, QueueName, TaskName, create_celery
from services.core.storage import FilesystemStorage
from services.core.unit_of_work import UnitOfWork
from services.embedded.api_command import api_command
from services.embedded.children import Child
from services.embedded.ports import free_port
from services.embedded.supervisor import worker_command
from tests.chaos.controls import FOLDER_VARIABLE, Controls
from tests.factories.access import add_key, bearer
from tests.factories.engines import create_patient_engine
from tests.integration.deployment import PARSE_SECONDS, Mode, send_patiently
from tests.integration.own_servers import Postgres, Redis
from tests.waiting import turns

WORKERS = ("worker-1", "worker-2")
GRACE_SECONDS = 600.0
"""Files nobody refers to are removed at this age. It is longer than any stop between the files of a
series and the commit of its row; the audit makes what is left behind as old."""

TIMES = {
    "CERVICONTOUR_LEASE_SECONDS": "4",
    "CERVICONTOUR_MAX_ATTEMPTS": "10",
    "CERVICONTOUR_HEARTBEAT_SECONDS": "0.3",
    "CERVICONTOUR_SWEEP_SECONDS": "0.5",
    "CERVICONTOUR_RESEND_SECONDS": "1.5",
    "CERVICONTOUR_WORKER_SILENT_SECONDS": "5",
    "CERVICONTOUR_RETENTION_SECONDS": "1",
    "CERVICONTOUR_UPLOAD_IDLE_SECONDS": "2",
    "CERVICONTOUR_UPLOAD_TIME_LIMIT_SECONDS": "2.9",
    "CERVICONTOUR_STALE_UPLOAD_HOURS": str(GRACE_SECONDS / 3600),
    "CERVICONTOUR_PARSE_TIME_LIMIT_SECONDS": str(PARSE_SECONDS),
}
"""Everything the service does by itself, in seconds instead of minutes and hours. A lease this
short is lost now and then by a worker that only waits for a processor: hence the many starts."""

KEY_DAYS = 30
"""However the clock moves, the key of the load stays valid."""
PATIENCE_SECONDS = 240.0
POLL_SECONDS = 0.05

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class Stack:
    """`with Stack(mode) as stack:` has a ready service at stack.base_url inside."""

    def __init__(
        self,
        mode: Mode,
        *,
        data_dir: Path | None = None,
        variables: Mapping[str, str] = NO_VARIABLES,
        arrival_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Describe the stack.

        Args:
            mode: the pair of database and broker.
            data_dir: storage, where it is to lie on a filesystem of its own.
            variables: further settings.
            arrival_seconds: until a job under load must have come to a point.
        """
        self.mode = mode
        self.arrival_seconds = arrival_seconds
        self._cleanup = ExitStack()
        folder = self._cleanup.enter_context(TemporaryDirectory(prefix="chaos-"))
        self.root = Path(folder)
        self.root.chmod(0o755)  # PostgreSQL runs as another user
        self.has_own_disk = data_dir is not None
        self.data_dir = data_dir or self.root / "data"
        self.controls = Controls(self.root / "controls")
        self.storage = FilesystemStorage(self.data_dir)
        self.headers: dict[str, str] = {}
        """Of every request to the stack that is inside its block."""
        self._port = free_port()
        self._children: dict[str, Child] = {}
        self.postgres = Postgres(self.root) if mode is Mode.SERVERS else None
        self.redis = Redis(self.root) if mode is Mode.SERVERS else None
        database = self.postgres.url if self.postgres else f"sqlite+pysqlite:///{self._sqlite}"
        broker = self.redis.url if self.redis else "filesystem://"
        self.engine = create_patient_engine(database)
        self.queue = CeleryQueue(create_celery(broker, self.broker_dir))
        sessions = create_sessions(self.engine)
        self.new_unit_of_work: Callable[[], UnitOfWork] = lambda: UnitOfWork(sessions, self.queue)
        self._environment = {
            **os.environ,
            **TIMES,
            "CERVICONTOUR_DATA_DIR": str(self.data_dir),
            "CERVICONTOUR_DATABASE_URL": database,
            "CERVICONTOUR_BROKER_URL": broker,
            FOLDER_VARIABLE: str(self.root / "controls"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **variables,
        }

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def lease_seconds(self) -> float:
        return float(self._environment["CERVICONTOUR_LEASE_SECONDS"])

    @property
    def port(self) -> int:
        return self._port

    @property
    def broker_dir(self) -> Path:
        return self.data_dir / "broker"

    @property
    def _sqlite(self) -> Path:
        return self.data_dir / "cervicontour.sqlite"

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self._stop)
            self.data_dir.mkdir(exist_ok=True)
            for server in (self.postgres, self.redis):
                if server is not None:
                    server.start()
                    wait_until(server.answers, "a server answers")
            upgrade_database(self.engine)
            later = utc_now() + dt.timedelta(days=KEY_DAYS)
            self.headers = bearer(add_key(self.new_unit_of_work, expires_at=later))
            for name in (*WORKERS, "api"):
                self.start(name)
            wait_until(self.is_ready, "the stack is ready")
            self._cleanup.push(undo.pop_all())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def start(self, name: str) -> None:
        """Start the API or a worker again."""
        self._children[name] = Child(name, self._command(name), self._environment, self.log(name))

    def log(self, name: str) -> Path:
        return self.root / f"{name}.log"

    def pid(self, name: str) -> int:
        return self._children[name].pid

    def child_pids(self, name: str) -> list[int]:
        return [child.pid for child in psutil.Process(self.pid(name)).children(recursive=True)]

    def kill(self, name: str) -> None:
        """Kill a process of the service and everything it started."""
        self._children[name].kill()

    def terminate(self, name: str) -> None:
        self._children[name].ask_to_stop()

    def is_running(self, name: str) -> bool:
        return self._children[name].is_running

    def worker_of(self, pid: int) -> str:
        """Name the worker a process belongs to."""
        for name in WORKERS:
            if pid == self.pid(name) or pid in self.child_pids(name):
                return name
        raise LookupError(f"process {pid} belongs to no worker")

    def revive(self) -> None:
        """Start what is down, as a supervisor or a container's restart policy does."""
        for name, child in self._children.items():
            if not child.is_running:
                child.kill()  # what it left behind
                self.start(name)

    def kill_server(self, server: Postgres | Redis) -> None:
        """Kill a server with its own children, which leave its process group."""
        family = []
        with suppress(psutil.NoSuchProcess):  # it ended by itself, and those of its own with it
            family = psutil.Process(server.child.pid).children(recursive=True)
        server.child.kill()
        for process in family:
            with suppress(psutil.NoSuchProcess):  # likewise
                process.kill()
        psutil.wait_procs(family, timeout=PATIENCE_SECONDS)

    def start_server(self, server: Postgres | Redis) -> None:
        server.start()
        wait_until(server.answers, "a server answers")

    def takes_connections(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True

    def ring(self, job_id: UUID) -> None:
        """Send the message of a job once more."""
        send_patiently(self.queue, Message(task=TaskName.CONTOUR_JOB_RUN, resource_id=job_id))

    def lose_all_messages(self) -> None:
        if self.redis is not None:
            self.redis.flush()
            return
        for message in self.broker_dir.iterdir():
            message.unlink(missing_ok=True)  # a worker may take it at this moment

    def is_ready(self) -> bool:
        for child in self._children.values():
            child.check()
        try:
            answer = httpx.get(
                f"{self.base_url}/health/ready", headers=self.headers, trust_env=False
            )
        except httpx.TransportError:
            return False
        if not answer.is_success:
            return False
        with self.new_unit_of_work() as uow:
            return len(uow.workers.seen_within(5)) == len(WORKERS)

    def _command(self, name: str) -> list[str]:
        if name != "api":
            return worker_command("tests.chaos.worker_app", QueueName.INFERENCE, name)
        return api_command("tests.chaos.api_app:create_chaos_app", "127.0.0.1", self._port)

    def _stop(self) -> None:
        for child in self._children.values():
            child.kill()
        self.engine.dispose()
        for server in (self.postgres, self.redis):
            if server is not None and hasattr(server, "child"):
                self.kill_server(server)


def wait_until(is_done: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return once something is the case; it must become so."""
    for _ in turns(seconds):
        if is_done():
            return
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"not within {seconds:.0f} s: {what}")
