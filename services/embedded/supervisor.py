"""The whole service on one machine without servers: SQLite, a folder, a few processes."""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Self

import httpx
from pydantic import SecretStr

from services.admin.transactions import transactions
from services.core.database import create_database_engine, create_sessions, utc_now
from services.core.migrations import upgrade_database
from services.core.queue import FILESYSTEM_SCHEME, QueueName
from services.core.repositories.workers import WorkerRepository
from services.core.settings import Settings
from services.embedded.admin_key import KEY_FILE_NAME, admin_key
from services.embedded.api_command import api_command
from services.embedded.children import Child
from services.embedded.kept_child import KeptChild
from services.embedded.ports import free_port

START_SECONDS = 120.0
"""Longest wait for readiness; importing torch on a cold, busy machine takes most of it."""

STOP_GRACE_SECONDS = 10.0
"""A running job gets this long at the end; one that is cut off runs again at the next start."""

POLL_SECONDS = 0.1

OTHERS = 0o077
"""Permissions of everybody but the owner."""

API_APP = "services.api.main:create_app"

WORKER_APP = "services.worker.app"

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class StackBusyError(RuntimeError):
    """Another stack runs in the same folder."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(f"another stack is running in {data_dir}")
        self.data_dir = data_dir


class StackNotReadyError(RuntimeError):
    """The service did not become ready in time; the message is its last answer."""

    def __init__(self, answer: str) -> None:
        super().__init__(f"not ready after {START_SECONDS:.0f} s: {answer}")
        self.answer = answer


class EmbeddedStack:
    """`with EmbeddedStack(data_dir) as stack:` has a ready service at stack.base_url inside.

    Everything is kept under data_dir: database, messages, uploads, results, logs/ and the
    administrator's key, drawn at the first start. What is made inside, data_dir included, only its
    owner can read; files that were there keep their modes.

    Raises:
        StackBusyError: another stack runs in data_dir.
        ChildDiedError: a process ended while starting.
        StackNotReadyError: the service did not become ready.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        worker_app: str = WORKER_APP,
        training_workers: int = 1,
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> None:
        """Describe the stack.

        Args:
            data_dir: folder of everything it keeps.
            host: address the API listens on.
            port: of the API; 0 takes a free one.
            worker_app: module of the Celery application.
            training_workers: that share the runs of experiments.
            variables: further settings, as environment variables of every process.
        """
        data_dir = data_dir.absolute()
        self._data_dir = data_dir
        self._host = host
        self._port = port
        self._worker_app = worker_app
        self._training_workers = training_workers
        self._settings = Settings(
            data_dir=data_dir,
            database_url=SecretStr(f"sqlite+pysqlite:///{data_dir / 'cervicontour.sqlite'}"),
            broker_url=SecretStr(FILESYSTEM_SCHEME),
        )
        self._environment = {
            **os.environ,
            "CERVICONTOUR_DATA_DIR": str(data_dir),
            "CERVICONTOUR_DATABASE_URL": self._settings.database_url.get_secret_value(),
            "CERVICONTOUR_BROKER_URL": self._settings.broker_url.get_secret_value(),
            **variables,
        }
        self._key = ""
        self._children: list[KeptChild] = []
        self._cleanup = ExitStack()

    @property
    def base_url(self) -> str:
        """Address of the API."""
        return f"http://{self._host}:{self._port}"

    @property
    def log_dir(self) -> Path:
        """Folder with one log file a process."""
        return self._data_dir / "logs"

    @property
    def key_path(self) -> Path:
        """File with the administrator's key, which only its owner can read."""
        return self._data_dir / KEY_FILE_NAME

    @property
    def is_open_to_others(self) -> bool:
        """Tell whether other users of this machine can look into the data folder."""
        return bool(self._data_dir.stat().st_mode & OTHERS)

    @property
    def headers(self) -> dict[str, str]:
        """What an administrator's requests carry; known once the stack was started."""
        return {"Authorization": f"Bearer {self._key}"}

    def __enter__(self) -> Self:
        """Start everything and wait until it is ready."""
        with ExitStack() as undo:
            undo.callback(os.umask, os.umask(OTHERS))  # of the children, too
            self.log_dir.mkdir(parents=True, exist_ok=True)
            undo.enter_context(_lock(self._data_dir))
            self._prepare()
            undo.callback(self._stop_children)
            self._start_children()
            self._wait_until_ready()
            self._cleanup = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything: the API first, so that nothing new comes in."""
        self._cleanup.close()

    def check(self) -> None:
        """Return if every process lives.

        Raises:
            ChildDiedError: one does not.
        """
        for kept in self._children:
            kept.child.check()

    def keep_alive(self) -> list[str]:
        """Start processes again that died; a lease gives their work to the next.

        Returns:
            What happened, in sentences for people.

        Raises:
            ChildDiedError: one died too often.
        """
        news = [kept.keep_alive() for kept in self._children]
        return [sentence for sentence in news if sentence is not None]

    def _prepare(self) -> None:
        # Messages of an earlier stack are only doorbells; its rows are sent again.
        shutil.rmtree(self._settings.broker_dir, ignore_errors=True)
        engine = create_database_engine(self._settings.database_url.get_secret_value())
        upgrade_database(engine)
        with transactions(self._settings) as new_unit_of_work:
            self._key = admin_key(self._data_dir, new_unit_of_work)
        with create_sessions(engine).begin() as session:
            # Nobody works here now; a report left by a killed worker would look like readiness.
            WorkerRepository(session, utc_now).forget(utc_now())
        engine.dispose()

    def _start_children(self) -> None:
        for queue in QueueName:
            self._start(f"worker-{queue.value}", worker_command(self._worker_app, queue))
        for number in range(2, self._training_workers + 1):
            queue, name = QueueName.TRAINING, f"embedded-{number}"
            command = worker_command(self._worker_app, queue, name)
            self._start(f"worker-{queue.value}-{number}", command)
        self._port = self._port or free_port(self._host)
        self._start("api", api_command(API_APP, self._host, self._port))

    def _start(self, name: str, command: list[str]) -> None:
        log_path = self.log_dir / f"{name}.log"
        start = partial(Child, name, command, self._environment, log_path)
        self._children.append(KeptChild(start))

    def _wait_until_ready(self) -> None:
        last_try = time.monotonic() + START_SECONDS
        with httpx.Client(base_url=self.base_url, headers=self.headers, trust_env=False) as client:
            while True:
                self.check()
                try:
                    answer = client.get("/health/ready")
                except httpx.TransportError as error:
                    last_answer = str(error)
                else:
                    if answer.is_success:
                        return
                    last_answer = answer.text
                if time.monotonic() > last_try:
                    raise StackNotReadyError(last_answer)
                time.sleep(POLL_SECONDS)

    def _stop_children(self) -> None:
        # the API was started last
        children, self._children = [kept.child for kept in self._children[::-1]], []
        try:
            for child in children[:1]:
                child.stop(STOP_GRACE_SECONDS)
            for child in children:
                child.ask_to_stop()
            for child in children:
                child.stop(STOP_GRACE_SECONDS)
        finally:
            for child in children:  # a second Ctrl-C ends the waiting, not the duty
                child.kill()


def worker_command(app: str, queue: QueueName, name: str = "embedded") -> list[str]:
    """Return the command line of a worker that serves one queue."""
    celery = [sys.executable, "-m", "celery", "-A", app, "worker", "-Q", queue.value]
    node = ["-n", f"{queue.value}@{name}", "-P", "prefork", "-c", "1"]
    # The rows tell who is there; Celery's own chatter would only delay the start.
    return [*celery, *node, "--without-gossip", "--without-mingle", "--without-heartbeat"]


def _lock(data_dir: Path) -> IO[bytes]:
    lock = (data_dir / "lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StackBusyError(data_dir) from error
    return lock
