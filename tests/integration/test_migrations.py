import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from services.core.database import create_database_engine
from services.core.migrations import ALEMBIC_INI, upgrade_database


def test_tables_and_migrations_agree_and_every_step_goes_both_ways(database_url: str) -> None:
    engine = create_database_engine(database_url)
    upgrade_database(engine)
    config = Config(ALEMBIC_INI)

    for step in ("check", "down", "up", "check"):
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            if step == "check":
                command.check(config)
            elif step == "down":
                command.downgrade(config, "base")
            else:
                command.upgrade(config, "head")
    engine.dispose()


def test_rows_purged_before_deletions_were_recorded_lose_their_traces(database_url: str) -> None:
    engine = create_database_engine(database_url)
    config = Config(ALEMBIC_INI)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for series_id, purged_at in (("1" * 32, "'2026-01-01'"), ("2" * 32, "NULL")):
            connection.execute(
                sa.text(
                    "INSERT INTO series (id, content_sha256, series_instance_uid,"
                    " study_instance_uid, frame_of_reference_uid, slice_count, rows, columns,"
                    " spacing_mm, extent_mm, byte_count, created_at, purged_at) VALUES"
                    f" ('{series_id}', '{series_id}', '1.2', '1.2', '1.2', 3, 1, 1, '[]', '[]', 1,"
                    f" '2026-01-01', {purged_at})"
                )
            )
        command.upgrade(config, "0004")
        rows = connection.execute(
            sa.text(
                "SELECT content_sha256, series_instance_uid, study_instance_uid,"
                " frame_of_reference_uid FROM series ORDER BY id"
            )
        ).all()
    engine.dispose()

    purged, kept = rows
    assert purged[0].replace("-", "") == f"purged{'1' * 32}"
    assert purged[1:] == ("", "", "")
    assert kept == ("2" * 32, "1.2", "1.2", "1.2")
