"""Engines for what a test itself asks a database that others use at the same time."""

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import ConnectionPoolEntry

from services.core.database import create_database_engine

BUSY_MILLISECONDS = 240_000
"""The service gives up after a while and says so; a test that does so has shown nothing."""


def create_patient_engine(url: str) -> sa.Engine:
    """Build an engine that waits long for those who write into the same SQLite file."""
    engine = create_database_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _wait_long, insert=True)
    return engine


def create_engine_of_stack(data_dir: Path) -> sa.Engine:
    """Build such an engine for the database of an embedded stack."""
    return create_patient_engine(f"sqlite+pysqlite:///{data_dir / 'cervicontour.sqlite'}")


def _wait_long(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
