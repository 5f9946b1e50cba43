"""The service as processes of its own on PostgreSQL and Redis that this starts and ends."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.load.client import Answers, Client, RefusedError
from bench.load.heartbeat import Beats
from bench.load.watched_api import HEARTBEAT_PATH, IN_USE_PATH
from services.core.database import create_database_engine, create_sessions
from services.core.migrations import upgrade_database
from services.core.queue import QueueName
from services.core.unit_of_work import UnitOfWork
from services.embedded.api_command import api_command
from services.embedded.children import Child
from services.embedded.ports import free_port
from services.embedded.supervisor import worker_command
from tests.factories.access import add_key
from tests.fakes import FakeJobQueue
from tests.integration.servers import running_servers

ROOT = Path(__file__).parents[2]
START_SECONDS = 120.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What is measured."""

    base_url: str
    key: str
    """Of an administrator."""
    database_url: str
    api: Child
    workers: list[Child]
    control: Child
    control_path: Path

    def client(self, answers: Answers | None = None) -> Client:
        """Return a new connection that may do everything."""
        return Client(self.base_url, self.key, answers)

    def beats(self) -> tuple[Beats, Beats]:
        """Return what the API's heart and the idle one saw since this was last asked."""
        client = self.client()
        api = Beats.from_json(client.get(HEARTBEAT_PATH).decode())
        client.close()
        self.control_path.unlink(missing_ok=True)
        os.kill(self.control.pid, signal.SIGUSR1)
        while not self.control_path.exists() or not self.control_path.read_text():
            time.sleep(POLL_SECONDS)
        return api, Beats.from_json(self.control_path.read_text())

    def api_in_use(self) -> "InUse":
        """Have the API collect its garbage, and return what it still holds."""
        client = self.client()
        found = client.get_json(IN_USE_PATH)
        client.close()
        return InUse(**found)

    def api_memory(self) -> "Memory":
        """Return what the API holds now."""
        return memory_of(self.api.pid)

    def workers_memory(self) -> "Memory":
        """Return what the workers and their children hold now."""
        found = [memory_of(worker.pid) for worker in self.workers]
        return Memory(
            rss_bytes=sum(memory.rss_bytes for memory in found),
            uss_bytes=sum(memory.uss_bytes for memory in found),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Of a process and all it started."""

    rss_bytes: int
    uss_bytes: int
    """What would be free if it ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InUse:
    """What the API's main process needs, whatever its allocators keep beside it."""

    malloc_bytes: int | None
    """None where the C library cannot tell."""
    objects: int
    """Blocks of Python's own allocator."""


def memory_of(pid: int) -> Memory:
    """Add up a process and its children; one that ends meanwhile counts for nothing."""
    rss = uss = 0
    parent = psutil.Process(pid)
    for process in (parent, *parent.children(recursive=True)):
        try:
            found = process.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        rss += found.rss
        uss += found.uss
    return Memory(rss_bytes=rss, uss_bytes=uss)


@contextmanager
def running_stack(*, workers: int) -> Generator[Stack]:
    """Start servers, API, workers and an idle heart; everything is gone afterwards."""
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="load-")))
        servers = cleanup.enter_context(running_servers(folder))
        database_url = cleanup.enter_context(servers.new_database())
        engine = create_database_engine(database_url)
        upgrade_database(engine)
        sessions = create_sessions(engine)
        key = add_key(lambda: UnitOfWork(sessions, FakeJobQueue()), name="load")
        engine.dispose()
        environment = {
            **os.environ,
            "CERVICONTOUR_DATA_DIR": str(folder / "data"),
            "CERVICONTOUR_DATABASE_URL": database_url,
            "CERVICONTOUR_BROKER_URL": servers.redis_url,
            # one client sends everything here
            "CERVICONTOUR_REQUESTS_PER_MINUTE": "0",
            "CERVICONTOUR_MAX_CONCURRENT_UPLOADS": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        (folder / "data").mkdir()
        port = free_port()
        api = api_command("bench.load.watched_api:create_app", "127.0.0.1", port)

        def start(name: str, command: list[str]) -> Child:
            child = Child(name, command, environment, folder / f"{name}.log")
            cleanup.callback(child.stop, STOP_SECONDS)
            return child

        control_path = folder / "control.json"
        stack = Stack(
            base_url=f"http://127.0.0.1:{port}",
            key=key,
            database_url=database_url,
            api=start("api", api),
            workers=[
                start(
                    f"worker-{n}",
                    worker_command("bench.load.worker", QueueName.INFERENCE, f"load-{n}"),
                )
                for n in range(1, workers + 1)
            ],
            control=start(
                "control", [sys.executable, "-m", "bench.load.heartbeat", str(control_path)]
            ),
            control_path=control_path,
        )
        _wait_until_up(stack)
        yield stack


def _wait_until_up(stack: Stack) -> None:
    path = "/health/ready" if stack.workers else "/health/live"
    last_try = time.monotonic() + START_SECONDS
    while True:
        for child in (stack.api, stack.control, *stack.workers):
            child.check()
        try:
            stack.client().get(path)
        except (OSError, RefusedError):
            if time.monotonic() > last_try:
                raise
        else:
            return
        time.sleep(POLL_SECONDS)
