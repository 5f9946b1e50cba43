import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import StatementError

from services.core import database
from services.core.database import (
    UtcDateTime,
    check_database,
    create_database_engine,
    utc_now,
    wait_for_database,
)
from services.core.errors import DatabaseUnavailableError


class TestUtcDateTime:
    def test_moments_come_back_in_utc(self, engine: sa.Engine) -> None:
        table = sa.Table("moment", sa.MetaData(), sa.Column("at", UtcDateTime))
        noon = dt.datetime(2026, 7, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
        with engine.begin() as connection:
            table.create(connection)
            connection.execute(table.insert(), [{"at": noon}, {"at": None}])

            found = connection.scalars(sa.select(table.c.at)).all()

        assert found == [noon, None]
        assert found[0] is not None
        assert found[0].utcoffset() == dt.timedelta(0)

    def test_a_database_that_keeps_zones_is_turned_to_utc(self) -> None:
        local = dt.datetime(2026, 7, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))

        found = UtcDateTime().process_result_value(
            local, sa.create_mock_engine("sqlite://", print).dialect
        )

        assert found is not None
        assert found.tzinfo is dt.UTC

    def test_a_naive_moment_is_refused(self, engine: sa.Engine) -> None:
        statement = sa.select(sa.literal(dt.datetime(2026, 1, 1), UtcDateTime))  # noqa: DTZ001

        with engine.begin() as connection, pytest.raises(StatementError):
            connection.execute(statement)


class TestSqlite:
    def test_concurrent_read_modify_write_loses_nothing(self, engine: sa.Engine) -> None:
        table = sa.Table("counter", sa.MetaData(), sa.Column("value", sa.Integer))
        with engine.begin() as connection:
            table.create(connection)
            connection.execute(table.insert(), {"value": 0})

        def increment(_: int) -> None:
            with engine.begin() as connection:
                value = connection.scalars(sa.select(table.c.value)).one()
                connection.execute(table.update().values(value=value + 1))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(increment, range(100)))

        with engine.begin() as connection:
            assert connection.scalars(sa.select(table.c.value)).one() == 100

    def test_readers_do_not_stop_writers(self, engine: sa.Engine) -> None:
        with engine.begin() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


class TestPostgresql:
    def test_connections_are_tested_before_use(self) -> None:
        engine = create_database_engine("postgresql+psycopg://user@nowhere.invalid/name")

        assert engine.pool._pre_ping


class TestCheckDatabase:
    def test_a_database_that_answers_is_fine(self, engine: sa.Engine) -> None:
        check_database(engine)

    def test_a_database_that_does_not_is_told(self, tmp_path: Path) -> None:
        engine = create_database_engine(f"sqlite:///{tmp_path}/no/such/folder.sqlite")

        with pytest.raises(DatabaseUnavailableError) as caught:
            check_database(engine)

        assert caught.value.context == {"reason": "OperationalError"}


class TestWaitForDatabase:
    def test_the_return_of_the_database_is_awaited(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = create_database_engine(f"sqlite:///{tmp_path}/late/x.sqlite")
        monkeypatch.setattr(database.time, "sleep", lambda _: (tmp_path / "late").mkdir())

        wait_for_database(engine, 60)

        check_database(engine)
        engine.dispose()

    def test_patience_ends(self, tmp_path: Path) -> None:
        engine = create_database_engine(f"sqlite:///{tmp_path}/never/x.sqlite")

        with pytest.raises(DatabaseUnavailableError):
            wait_for_database(engine, -1)


def test_now_is_aware() -> None:
    assert utc_now().tzinfo is dt.UTC
