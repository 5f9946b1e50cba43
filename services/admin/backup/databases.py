"""Copies of a database at one moment, made while others write to it, and back from them."""

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.admin.backup.layout import BackupError, TargetNotEmptyError
from services.core.database import create_database_engine
from services.core.disk import sync
from services.core.migrations import schema_revision
from services.core.repositories.stored_files import KEPT_KINDS, StoredFilesRepository
from services.core.storage import StoredKind

POSTGRESQL, SQLITE = "postgresql", "sqlite"
SQLITE_LOGS = ("-wal", "-shm", "-journal")
"""Endings of the files beside a database that is in use, or was when its process died."""
VERSIONS_IN_ONE = 10_000
"""PostgreSQL counts 160014 for 16.14."""

Owners = dict[StoredKind, set[UUID]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dump:
    """A database as it was at one moment."""

    database: str
    file: Path
    revision: str
    owners: Owners
    """Rows with files at that moment."""
    possible_owners: Owners
    """Rows that may have had some."""


class PostgresTools:
    """pg_dump and pg_restore, from a folder or from PATH."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def run(self, name: str, arguments: Sequence[str], url: sa.URL) -> None:
        """Run one against a database, the password not on its command line.

        Raises:
            BackupError: it is not installed, or failed.
        """
        target = _connection_arguments(url)
        environment = dict(os.environ)
        password = target.pop("password", None)
        if password is not None:
            environment["PGPASSWORD"] = password
        words = " ".join(f"{key}='{_quoted(value)}'" for key, value in target.items())
        command = [self._path(name), f"--dbname={words}", "--no-password", *arguments]
        done = subprocess.run(  # noqa: S603 (the command is ours)
            command, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise BackupError(f"{name} failed: {done.stderr.strip()[-500:]}")

    def check_is_new_enough(self, server: int) -> None:
        """Return if pg_dump understands a server of that version.

        Raises:
            BackupError: it is older, and would refuse or leave things out.
        """
        said = subprocess.run(  # noqa: S603 (the command is ours)
            [self._path("pg_dump"), "--version"], capture_output=True, text=True, check=True
        ).stdout
        found = re.search(r"(\d+)(?:\.\d+)?", said)
        own, needed = int(found[1]) if found else 0, server // VERSIONS_IN_ONE
        if own < needed:
            raise BackupError(
                f"pg_dump is of PostgreSQL {own}, the server of {needed}: install the client "
                f"programs of PostgreSQL {needed} or newer, or name their folder",
                pg_dump=own,
                server=needed,
            )

    def _path(self, name: str) -> str:
        found = shutil.which(name, path=None if self._folder is None else str(self._folder))
        if found is None:
            raise BackupError(f"{name} is not installed: a package of PostgreSQL's client has it")
        return found


def dump_database(url: str, folder: Path, tools: PostgresTools) -> Dump:
    """Write a database into a file of a folder, all of it as of one moment.

    Raises:
        BackupError: the database was never migrated, or pg_dump is missing, too old or failed.
    """
    if sa.make_url(url).get_backend_name() == SQLITE:
        return _dump_sqlite(url, folder / "database.sqlite")
    return _dump_postgresql(url, folder / "database.dump", tools)


def owners_now(url: str) -> Owners:
    """Return the rows with files as they are at this moment."""
    engine = create_database_engine(url)
    try:
        with engine.connect() as connection:
            return _owners(connection)
    finally:
        engine.dispose()


def check_is_empty(url: str) -> None:
    """Return if a database has no table, or is not even there.

    Raises:
        TargetNotEmptyError: it has one, or a killed process left what SQLite would replay over
            whatever comes into its place.
    """
    if sa.make_url(url).get_backend_name() == SQLITE:
        path = _sqlite_path(url)
        for ending in SQLITE_LOGS:
            log = path.with_name(path.name + ending)
            if log.exists():
                raise TargetNotEmptyError(
                    f"the database of the settings is not empty: {log} is there; end whoever uses "
                    "it, then move it away together with its database",
                    file=str(log),
                )
        if not path.exists():
            return
    engine = create_database_engine(url)
    try:
        if sa.inspect(engine).get_table_names():
            raise TargetNotEmptyError("the database of the settings is not empty")
    finally:
        engine.dispose()


def load_database(url: str, file: Path, tools: PostgresTools) -> None:
    """Bring a dump into an empty database, all of it or nothing.

    Raises:
        TargetNotEmptyError: it is not empty any more.
        BackupError: pg_restore is missing or failed.
    """
    check_is_empty(url)
    if sa.make_url(url).get_backend_name() == SQLITE:
        _load_sqlite(_sqlite_path(url), file)
        return
    arguments = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
    tools.run("pg_restore", [*arguments, str(file)], sa.make_url(url))


def _load_sqlite(path: Path, file: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    try:
        shutil.copyfile(file, unfinished)
        sync(unfinished)
        unfinished.replace(path)
        sync(path.parent)
    except BaseException:
        for one in (unfinished, path):  # what stood there was empty
            one.unlink(missing_ok=True)
        raise


def _dump_sqlite(url: str, file: Path) -> Dump:
    source_path = _sqlite_path(url)
    if not source_path.exists():
        raise BackupError(f"there is no database {source_path}")
    with (
        closing(sqlite3.connect(source_path)) as source,
        closing(sqlite3.connect(file)) as target,
    ):
        source.backup(target)  # in one step: readers and writers go on meanwhile
        target.execute("PRAGMA journal_mode=DELETE")  # one file, whoever opens it
    engine = sa.create_engine(f"sqlite+pysqlite:///{file}")
    try:
        with engine.connect() as connection:
            return Dump(
                database=SQLITE,
                file=file,
                revision=_revision(connection),
                owners=_owners(connection),
                possible_owners=_possible_owners(connection),
            )
    finally:
        engine.dispose()


def _dump_postgresql(url: str, file: Path, tools: PostgresTools) -> Dump:
    engine = create_database_engine(url)
    try:
        with engine.connect() as plain:
            connection = plain.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                # pg_dump and our own questions see the very same moment
                snapshot: str = connection.scalar(sa.text("SELECT pg_export_snapshot()"))
                version: str = connection.scalar(sa.text("SHOW server_version_num"))
                tools.check_is_new_enough(int(version))
                dump = Dump(
                    database=POSTGRESQL,
                    file=file,
                    revision=_revision(connection),
                    owners=_owners(connection),
                    possible_owners=_possible_owners(connection),
                )
                options = ["--format=custom", "--no-owner", "--no-privileges"]
                arguments = [*options, f"--snapshot={snapshot}", f"--file={file}"]
                tools.run("pg_dump", arguments, sa.make_url(url))
                return dump
    finally:
        engine.dispose()


def _revision(connection: sa.Connection) -> str:
    revision = schema_revision(connection)
    if revision is None:
        raise BackupError("the database has no tables of this service")
    return revision


def _owners(connection: sa.Connection) -> Owners:
    rows = StoredFilesRepository(Session(connection))
    return {kind: rows.owners(kind) for kind in KEPT_KINDS}


def _possible_owners(connection: sa.Connection) -> Owners:
    rows = StoredFilesRepository(Session(connection))
    return {kind: rows.possible_owners(kind) for kind in KEPT_KINDS}


def _sqlite_path(url: str) -> Path:
    return Path(sa.make_url(url).database or "")


def _connection_arguments(url: sa.URL) -> dict[str, str]:
    _, arguments = url.get_dialect()().create_connect_args(url)
    return {key: str(value) for key, value in arguments.items() if key != "context"}


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")
