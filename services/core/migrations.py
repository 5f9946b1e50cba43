"""Brings a database to the tables of this release."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

ALEMBIC_INI = Path(__file__).parents[2] / "alembic.ini"


class ForeignKeysBrokenError(Exception):
    """A migration left rows that refer to rows which are not there.

    Attributes:
        tables: whose rows.
    """

    def __init__(self, tables: set[str]) -> None:
        super().__init__(f"rows of {', '.join(sorted(tables))} refer to nothing")
        self.tables = tables


def upgrade_database(engine: sa.Engine) -> None:
    """Run every migration the database has not seen, all of them or none."""
    config = Config(ALEMBIC_INI)
    with migrating(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def migrating(engine: sa.Engine) -> Generator[sa.Connection]:
    """Open a transaction in which SQLite lets tables be replaced that others refer to.

    It alters a table by copying it and dropping the old one, and with foreign keys in force that
    takes the rows that refer to it along, or fails (sqlite.org/lang_altertable.html, section 7).
    So they are checked once, before the commit. They can be switched only between transactions.

    Raises:
        ForeignKeysBrokenError: a migration left rows that refer to nothing; nothing was changed.
    """
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            yield connection
        return
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        if driver is None:  # never of a connection that was just made
            raise RuntimeError("the connection is closed")
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                yield connection
                broken = connection.execute(sa.text("PRAGMA foreign_key_check")).all()
                if broken:
                    raise ForeignKeysBrokenError({row[0] for row in broken})
        finally:
            driver.execute("PRAGMA foreign_keys=ON")


def schema_revision(connection: sa.Connection) -> str | None:
    """Return the last migration a database has seen, or None."""
    return MigrationContext.configure(connection).get_current_revision()


def known_revisions() -> set[str]:
    """Return every migration of this release."""
    scripts = ScriptDirectory.from_config(Config(ALEMBIC_INI))
    return {script.revision for script in scripts.walk_revisions()}
