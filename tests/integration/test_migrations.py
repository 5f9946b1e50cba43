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
