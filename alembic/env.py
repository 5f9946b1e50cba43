"""Runs migrations on a given connection, or on the database of the settings."""

from typing import Literal

import sqlalchemy as sa
from alembic import context
from alembic.autogenerate.api import AutogenContext

from services.core import unit_of_work  # noqa: F401 (knows every table)
from services.core.database import Base, UtcDateTime, create_database_engine
from services.core.migrations import migrating
from services.core.settings import load_settings


def render_item(kind: str, item: object, autogen: AutogenContext) -> str | Literal[False]:
    # Autogenerate would name our own types, which a migration must not depend on.
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, sa.Enum):
        return f"sa.String(length={item.length})"
    if kind == "type" and isinstance(item, sa.JSON):
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        return "sa.JSON().with_variant(postgresql.JSONB(), 'postgresql')"
    return False


def migrate(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,  # SQLite alters tables by copying them
        render_item=render_item,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    engine = create_database_engine(load_settings().database_url.get_secret_value())
    with migrating(engine) as own:
        migrate(own)
    engine.dispose()
