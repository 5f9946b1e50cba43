"""Statements of the release before work on the tables of this one.

An old process knows only its own columns: the tables as they were are read back from a database
at the revision of then, and everything is written and read through them after the upgrade.
"""

import datetime as dt
from collections.abc import Callable
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.dialects import postgresql

from services.core.database import create_database_engine
from services.core.migrations import ALEMBIC_INI, upgrade_database

RELEASED = "0002"
"""The last revision that a release ended with before this one."""


@pytest.fixture
def engine(database_url: str) -> sa.Engine:
    return create_database_engine(database_url)


def test_a_process_of_the_release_before_goes_on(engine: sa.Engine) -> None:
    config = Config(ALEMBIC_INI)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, RELEASED)
    before = sa.MetaData()
    before.reflect(engine)
    before.remove(before.tables["alembic_version"])
    with engine.begin() as connection:
        old = _fill(connection, before)
        counts = {table.name: _count(connection, table) for table in before.sorted_tables}

    upgrade_database(engine)

    with engine.begin() as connection:
        _fill(connection, before)
        for table in before.sorted_tables:
            _update(connection, table, old[table.name])
            assert _count(connection, table) == counts[table.name] + 1, table.name
        for table in reversed(before.sorted_tables):
            connection.execute(sa.delete(table))
    engine.dispose()


def test_what_was_written_before_is_read_by_this_release(engine: sa.Engine) -> None:
    config = Config(ALEMBIC_INI)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, RELEASED)
    before = sa.MetaData()
    before.reflect(engine)
    before.remove(before.tables["alembic_version"])
    with engine.begin() as connection:
        _fill(connection, before)
        counts = {table.name: _count(connection, table) for table in before.sorted_tables}

    upgrade_database(engine)

    now = sa.MetaData()
    now.reflect(engine)
    with engine.begin() as connection:
        for name, count in counts.items():
            assert _count(connection, now.tables[name]) == count, name
    engine.dispose()


def _fill(connection: sa.Connection, metadata: sa.MetaData) -> dict[str, dict[str, object]]:
    """Insert a row into every table, every column given; return them by table."""
    rows: dict[str, dict[str, object]] = {}
    for table in metadata.sorted_tables:
        row = {column.name: _value(column, rows) for column in table.columns}
        rows[table.name] = row
        connection.execute(sa.insert(table).values(row))
    return rows


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return len(connection.execute(sa.select(table)).all())


def _update(connection: sa.Connection, table: sa.Table, row: dict[str, object]) -> None:
    keys = [column for column in table.columns if column.primary_key]
    changed = {
        column.name: _value(column, {})
        for column in table.columns
        if not column.primary_key and not column.foreign_keys
    }
    if changed:
        where = [column == row[column.name] for column in keys]
        done = connection.execute(sa.update(table).where(*where).values(changed))
        assert done.rowcount == 1, table.name


def _value(column: sa.Column[object], rows: dict[str, dict[str, object]]) -> object:
    for key in column.foreign_keys:
        if key.column.table.name in rows:
            return rows[key.column.table.name][key.column.name]
        return None  # of the table itself, or a ring: allowed to be empty
    if column.name == "purged_at":
        return None  # a row that is in use
    for kind, make in _MADE:
        if isinstance(column.type, kind):
            return make()
    return uuid4().hex[: getattr(column.type, "length", None) or 32]


_MADE: tuple[tuple[type | tuple[type, ...], Callable[[], object]], ...] = (
    (sa.Uuid, uuid4),
    ((sa.JSON, postgresql.JSONB), lambda: {"a": 1}),
    (sa.DateTime, lambda: dt.datetime.now(dt.UTC)),
    (sa.Boolean, lambda: True),
    ((sa.Integer, sa.Numeric, sa.Float), lambda: uuid4().int % 1_000_000),
)
