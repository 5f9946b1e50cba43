"""How rows reach PostgreSQL or SQLite: engine, sessions and the column types both understand."""

import datetime as dt
import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from services.core.errors import DatabaseUnavailableError

SQLITE_BUSY_SECONDS = 30
"""How long a writer waits for another; the longest wait measured under load was 1.4 s."""

READS_ONLY_OPTION = "cervicontour_reads_only"
"""Execution option of engines whose transactions write nothing."""
CHECKPOINT_SECONDS = 1.0
"""How long the emptying of the log waits for readers."""

DATABASE_RETRY_SECONDS = 0.5
"""Between two looks whether a database is back."""

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names every constraint, so that a migration can drop it on either database."""

HIDE_PARAMETERS = True
"""Errors quote statements without values: names of files among them may name patients."""

Now = Callable[[], dt.datetime]
"""Time is passed in, so that tests decide what time it is."""


def moments_in_turn(now: dt.datetime) -> Iterator[dt.datetime]:
    """Yield moments a microsecond apart, from now on.

    For rows that are added together and are ordered by the time they were made: those of one
    microsecond would be in any order.
    """
    return (now + place * dt.timedelta.resolution for place in itertools.count())


class Base(DeclarativeBase):
    """Base of every table."""

    metadata = sa.MetaData(naming_convention=NAMING_CONVENTION)


class UtcDateTime(sa.TypeDecorator[dt.datetime]):
    """An aware moment; comes back in UTC from databases that forget the zone.

    Raises:
        ValueError: a datetime without a zone.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self,
        value: dt.datetime | None,
        dialect: sa.Dialect,  # noqa: ARG002 (SQLAlchemy's signature)
    ) -> dt.datetime | None:
        """Turn an aware moment to UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs its time zone")
        return value.astimezone(dt.UTC)

    def process_result_value(
        self,
        value: dt.datetime | None,
        dialect: sa.Dialect,  # noqa: ARG002 (SQLAlchemy's signature)
    ) -> dt.datetime | None:
        """Give a stored moment its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


JSON_TYPE = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


class month_of(FunctionElement[str]):  # noqa: N801  # reads as a function of SQL
    """Year and month of a moment in UTC, such as 2026-03."""

    inherit_cache = True
    type = sa.String()


class json_size(FunctionElement[int]):  # noqa: N801  # reads as a function of SQL
    """Number of elements of a json array."""

    inherit_cache = True
    type = sa.Integer()


_PORTABLE: dict[type[FunctionElement[Any]], dict[str, str]] = {
    month_of: {
        # UtcDateTime is text in UTC here, year and month first
        "sqlite": "substr(%s, 1, 7)",
        "postgresql": "to_char(timezone('UTC', %s), 'YYYY-MM')",
    },
    json_size: {"sqlite": "json_array_length(%s)", "postgresql": "jsonb_array_length(%s)"},
}


def _compile_portable(
    element: FunctionElement[Any],
    compiler: SQLCompiler,
    **options: Any,  # noqa: ANN401  # SQLAlchemy's signature
) -> str:
    template = _PORTABLE[type(element)][compiler.dialect.name]
    return template % compiler.process(element.clauses, **options)


for _function in _PORTABLE:
    compiles(_function)(_compile_portable)


def text_enum(enum: type[StrEnum], length: int = 16) -> sa.Enum:
    """Describe a column of an enum's values as text: a further value needs no migration."""
    return sa.Enum(enum, native_enum=False, length=length, values_callable=_values)


def utc_now() -> dt.datetime:
    """Return this moment."""
    return dt.datetime.now(dt.UTC)


def create_database_engine(url: str) -> sa.Engine:
    """Build an engine; it connects on first use, so it may be made before a fork."""
    if sa.make_url(url).get_backend_name() != "sqlite":
        # pre_ping: after a restart of the server the first statement would fail otherwise
        return sa.create_engine(
            url, pool_pre_ping=True, pool_recycle=1800, hide_parameters=HIDE_PARAMETERS
        )
    engine = sa.create_engine(
        url, connect_args={"timeout": SQLITE_BUSY_SECONDS}, hide_parameters=HIDE_PARAMETERS
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def create_reading_sessions(engine: sa.Engine) -> sessionmaker[Session]:
    """Build the maker of sessions that only read, and so wait for no writer on SQLite either."""
    return create_sessions(engine.execution_options(**{READS_ONLY_OPTION: True}))


def create_sessions(engine: sa.Engine) -> sessionmaker[Session]:
    """Build the maker of sessions whose rows stay readable after the commit."""
    return sessionmaker(engine, expire_on_commit=False)


def check_database(engine: sa.Engine) -> None:
    """Prove that the database answers.

    Raises:
        DatabaseUnavailableError: it does not.
    """
    try:
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
    except SQLAlchemyError as error:
        raise DatabaseUnavailableError(
            "the database does not answer", reason=type(error).__name__
        ) from error


def empty_write_ahead_log(engine: sa.Engine) -> None:
    """Have SQLite forget the pages as they were before the last commits; others have no such file.

    While another process reads it stays as it is; the next commits overwrite it.
    """
    path = engine.url.database
    if engine.dialect.name != "sqlite" or not path:
        return
    # a connection of its own: those of the engine are always in a transaction
    with closing(sqlite3.connect(path, timeout=CHECKPOINT_SECONDS)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def wait_for_database(engine: sa.Engine, seconds: float) -> None:
    """Return as soon as the database answers, so that a restart of it costs no finished work.

    Raises:
        DatabaseUnavailableError: it did not within that time.
    """
    last_try = time.monotonic() + seconds
    while True:
        try:
            return check_database(engine)
        except DatabaseUnavailableError:
            if time.monotonic() > last_try:
                raise
        time.sleep(DATABASE_RETRY_SECONDS)


def _values(enum: type[StrEnum]) -> list[str]:
    return [member.value for member in enum]


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # The driver's own transactions start at the first write and lose updates under contention.
    connection.isolation_level = None
    # FULL: what was answered outlives a power cut, at one flush a commit.
    # secure_delete: what was taken out of a row is overwritten in the file, too.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: sa.Connection) -> None:
    reads_only = connection.get_execution_options().get(READS_ONLY_OPTION, False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
