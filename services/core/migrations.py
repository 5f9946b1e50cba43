"""Brings a database to the tables of this release."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

ALEMBIC_INI = Path(__file__).parents[2] / "alembic.ini"


def upgrade_database(engine: sa.Engine) -> None:
    """Run every migration the database has not seen."""
    config = Config(ALEMBIC_INI)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
