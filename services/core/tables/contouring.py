"""CT series and the jobs that contour them."""

import datetime as dt
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.core.database import JSON_TYPE, Base, UtcDateTime
from services.core.tables.access import ActorId
from services.core.tables.leased import Json, Leased, Sha256, Uid, lease_indexes


class Series(Base):
    """A CT series in storage; one row a content, however often it is posted."""

    __tablename__ = "series"
    __table_args__ = (sa.Index(None, "created_at", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    """Also the key in storage."""
    content_sha256: Mapped[str] = mapped_column(Sha256, unique=True)
    """Over the slices in order; the same series again finds the same row. As the UIDs, no trace of
    it is left once the series was purged."""
    series_instance_uid: Mapped[str] = mapped_column(Uid)
    study_instance_uid: Mapped[str] = mapped_column(Uid)
    frame_of_reference_uid: Mapped[str] = mapped_column(Uid)
    is_deidentified: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether its files, and the UIDs above, are those of de-identification."""
    patient_position: Mapped[str | None] = mapped_column(sa.String(16))
    slice_count: Mapped[int]
    rows: Mapped[int]
    columns: Mapped[int]
    spacing_mm: Mapped[list[float]] = mapped_column(JSON_TYPE)
    """Between slices, rows, columns."""
    extent_mm: Mapped[list[float]] = mapped_column(JSON_TYPE)
    """Along slices, rows, columns."""
    byte_count: Mapped[int] = mapped_column(sa.BigInteger)
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    posted_again_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When it was last posted after the first time; the time it is kept for starts again."""
    purged_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When its files were removed; posting the series again makes a new row."""


class ContourJob(Leased):
    """One contouring request: outbox, lease and result record in one row."""

    __tablename__ = "contour_job"
    __table_args__ = (
        *lease_indexes(),
        sa.Index(None, "purged_at", "finished_at"),
        sa.Index(None, "submitted_by", "created_at", "id"),
    )

    series_id: Mapped[UUID] = mapped_column(sa.ForeignKey("series.id"), index=True)
    submitted_by: Mapped[str | None] = mapped_column(ActorId)
    """Id of the actor that asked for it; None for jobs older than actors."""
    warnings: Mapped[list[Json]] = mapped_column(JSON_TYPE, default=list)
    """What a clinician should look at: code, structure, message, facts."""
    volumes_ml: Mapped[dict[str, float] | None] = mapped_column(JSON_TYPE)
    """By structure name."""
    seconds: Mapped[dict[str, float] | None] = mapped_column(JSON_TYPE)
    """By stage of the work."""
    settings: Mapped[Json | None] = mapped_column(JSON_TYPE)
    """What the network ran on: device, batch size, threads."""
    model_version: Mapped[str | None] = mapped_column(sa.String(64), index=True)
    """Name of the weights, as the RTSTRUCT says it."""
    model_version_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("model_version.id"))
    """None for the packaged weights and those of the settings."""
    weights_sha256: Mapped[str | None] = mapped_column(Sha256)
    software_version: Mapped[str | None] = mapped_column(sa.String(32))
    purged_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When its result was removed."""
