"""PostgreSQL and Redis for the tests: given by address, or started here and ended afterwards."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.integration.own_servers import Postgres, Redis, ServersMissingError, packaged_postgres
from tests.waiting import wait_until

POSTGRES_VARIABLE = "CERVICONTOUR_TEST_POSTGRES_URL"
"""postgresql://... of a role that may create databases."""
REDIS_VARIABLE = "CERVICONTOUR_TEST_REDIS_URL"
"""redis://... of a database for these tests alone: they flush it."""
REQUIRE_VARIABLE = "CERVICONTOUR_REQUIRE_SERVERS"
"""1: missing servers fail the tests instead of skipping them."""

START_SECONDS = 240.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Servers:
    """The production pair."""

    admin_url: str
    """Of the PostgreSQL server's own database, in libpq's words."""
    redis_url: str
    own_redis: Redis | None
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
    with ExitStack() as cleanup:
        redis_url, own_redis = os.environ.get(REDIS_VARIABLE), None
        admin_url = os.environ.get(POSTGRES_VARIABLE)
        try:
            if redis_url is None:
                own_redis = cleanup.enter_context(_own_redis(folder))
                redis_url = own_redis.url
            if admin_url is None:
                admin_url = cleanup.enter_context(_own_postgres())
        except ServersMissingError as error:
            _do_without(str(error))
        yield Servers(admin_url=admin_url, redis_url=redis_url, own_redis=own_redis)


@contextmanager
def _own_redis(folder: Path) -> Iterator[Redis]:
    own = Redis(folder)
    start(own)
    try:
        yield own
    finally:
        own.child.kill()


@contextmanager
def _own_postgres() -> Iterator[str]:
    # Not below pytest's own folder: started by root, the server runs as a user who may not enter.
    with TemporaryDirectory(prefix="cervicontour-") as folder:
        Path(folder).chmod(0o755)
        own = Postgres(Path(folder), packaged_postgres())
        start(own)
        try:
            yield own.libpq_url
        finally:
            own.stop()


def start(server: Postgres | Redis) -> None:
    """Start a server of our own and return once it answers."""
    server.start()

    def answers() -> bool:
        server.child.check()
        return server.answers()

    wait_until(answers, START_SECONDS)


def _do_without(reason: str) -> NoReturn:
    if os.environ.get(REQUIRE_VARIABLE) == "1":
        pytest.fail(reason)
    pytest.skip(f"{reason}; {POSTGRES_VARIABLE} and {REDIS_VARIABLE} may name others")
