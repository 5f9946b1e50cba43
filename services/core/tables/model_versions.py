"""Weights that may contour: versions, the aliases that say which one does, and its shadow."""

import datetime as dt
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.core.database import JSON_TYPE, Base, UtcDateTime, text_enum
from services.core.lifecycle import AliasName, ModelVersionOrigin
from services.core.tables.leased import Json, Leased, Sha256, lease_indexes

IN_USE = sa.text("state NOT IN ('failed', 'cancelled') AND purged_at IS NULL")
"""Versions that are or may become usable; of these a name, a run and weights have one each."""


def _one_in_use(column: str) -> sa.Index:
    name = f"uq_model_version_{column}_in_use"
    return sa.Index(name, column, unique=True, sqlite_where=IN_USE, postgresql_where=IN_USE)


class ModelVersion(Leased):
    """Weights with their provenance; SUCCEEDED once a worker has checked them."""

    __tablename__ = "model_version"
    __table_args__ = (
        *lease_indexes(),
        *(_one_in_use(column) for column in ("name", "run_id", "weights_sha256")),
    )

    name: Mapped[str] = mapped_column(sa.String(64))
    """As jobs and RTSTRUCTs name it."""
    origin: Mapped[ModelVersionOrigin] = mapped_column(text_enum(ModelVersionOrigin))
    run_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("run.id"))
    dataset_version_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("dataset_version.id"))
    """Whose test cases it is checked on."""
    request: Mapped[Json] = mapped_column(JSON_TYPE)
    """What was asked for: minimum metrics, cases and margin of the evaluation, notes."""
    weights_sha256: Mapped[str] = mapped_column(Sha256)
    structure_set: Mapped[str] = mapped_column(sa.String(32))
    card: Mapped[Json | None] = mapped_column(JSON_TYPE)
    """What stands beside the weights: data, configuration, metrics, library versions."""
    checks: Mapped[Json | None] = mapped_column(JSON_TYPE)
    """What was checked before it might serve, with the values."""
    retired_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """A retired version takes no alias any more; its files stay until it is deleted."""
    purged_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When its files were removed; name, hash and checks stay, for RTSTRUCTs name it."""


class ModelAlias(Base):
    """Which version an alias means now; none is the weights of the settings."""

    __tablename__ = "model_alias"

    alias: Mapped[AliasName] = mapped_column(text_enum(AliasName), primary_key=True)
    model_version_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("model_version.id"))
    revision: Mapped[int] = mapped_column(default=0)
    """Rises with every change."""
    changed_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """None before the first change. The rows are there from the migration on."""


class ModelAliasChange(Base):
    """One change of an alias; rows are only added."""

    __tablename__ = "model_alias_change"
    __table_args__ = (sa.UniqueConstraint("alias", "revision"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    alias: Mapped[AliasName] = mapped_column(text_enum(AliasName))
    revision: Mapped[int]
    model_version_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("model_version.id"))
    replaced_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("model_version.id"))
    is_rollback: Mapped[bool]
    reason: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)


class ShadowContour(Leased):
    """A job contoured once more by the shadow version; compared, never returned."""

    __tablename__ = "shadow_contour"
    __table_args__ = (
        *lease_indexes(),
        sa.UniqueConstraint("job_id", "model_version_id"),
        sa.Index(None, "model_version_id", "created_at"),
    )

    job_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contour_job.id"))
    model_version_id: Mapped[UUID] = mapped_column(sa.ForeignKey("model_version.id"))
    scores: Mapped[Json | None] = mapped_column(JSON_TYPE)
    """Agreement with the job's own result, by structure."""
    volumes_ml: Mapped[dict[str, float] | None] = mapped_column(JSON_TYPE)
    warnings: Mapped[list[Json]] = mapped_column(JSON_TYPE, default=list)
    seconds: Mapped[dict[str, float] | None] = mapped_column(JSON_TYPE)
    weights_sha256: Mapped[str | None] = mapped_column(Sha256)
    software_version: Mapped[str | None] = mapped_column(sa.String(32))
    purged_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When its result was removed."""
