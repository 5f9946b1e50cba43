from pathlib import Path

import pytest
import sqlalchemy as sa

from services.core.database import create_database_engine
from services.core.migrations import (
    ForeignKeysBrokenError,
    known_revisions,
    migrating,
    schema_revision,
    upgrade_database,
)


@pytest.fixture
def referring(tmp_path: Path) -> sa.Engine:
    """A database with a row that refers to another."""
    engine = create_database_engine(f"sqlite:///{tmp_path / 'test.sqlite'}")
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
            "CREATE TABLE child (id INTEGER, parent_id INTEGER REFERENCES parent (id)"
            " ON DELETE CASCADE)",
            "INSERT INTO parent VALUES (1)",
            "INSERT INTO child VALUES (1, 1)",
        ):
            connection.execute(sa.text(statement))
    return engine


class TestMigrating:
    def test_a_table_that_others_refer_to_may_be_replaced(self, referring: sa.Engine) -> None:
        with migrating(referring) as connection:
            for statement in (
                "CREATE TABLE parent_new (id INTEGER PRIMARY KEY, more TEXT)",
                "INSERT INTO parent_new (id) SELECT id FROM parent",
                "DROP TABLE parent",
                "ALTER TABLE parent_new RENAME TO parent",
            ):
                connection.execute(sa.text(statement))

        with referring.connect() as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM child")) == 1
        referring.dispose()

    def test_rows_that_refer_to_nothing_undo_it(self, referring: sa.Engine) -> None:
        with pytest.raises(ForeignKeysBrokenError) as caught, migrating(referring) as connection:
            connection.execute(sa.text("DELETE FROM parent"))

        assert caught.value.tables == {"child"}
        with referring.connect() as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM parent")) == 1
        referring.dispose()

    def test_foreign_keys_are_in_force_afterwards(self, referring: sa.Engine) -> None:
        with migrating(referring):
            pass

        with referring.connect() as connection:
            assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
        referring.dispose()


def test_a_migrated_database_is_of_a_known_revision(tmp_path: Path) -> None:
    engine = create_database_engine(f"sqlite:///{tmp_path / 'test.sqlite'}")
    with engine.connect() as connection:
        assert schema_revision(connection) is None

    upgrade_database(engine)

    with engine.connect() as connection:
        assert schema_revision(connection) in known_revisions()
    engine.dispose()
