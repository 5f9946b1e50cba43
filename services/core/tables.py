"""The rows that API and workers agree on."""

import datetime as dt
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.core.database import JSON_TYPE, Base, UtcDateTime, text_enum
from services.core.lifecycle import JobStage, JobState
from services.core.queue import QueueName

Uid = sa.String(64)
Sha256 = sa.String(64)
Json = dict[str, Any]  # Any: nested json values


class Series(Base):
    """A CT series in storage; one row a content, however often it is posted."""

    __tablename__ = "series"
    __table_args__ = (sa.Index(None, "created_at", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    """Also the key in storage."""
    content_sha256: Mapped[str] = mapped_column(Sha256, unique=True)
    """Over the slices in order; the same series again finds the same row."""
    series_instance_uid: Mapped[str] = mapped_column(Uid)
    study_instance_uid: Mapped[str] = mapped_column(Uid)
    frame_of_reference_uid: Mapped[str] = mapped_column(Uid)
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
    purged_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When its files were removed; posting the series again brings them back."""


class ContourJob(Base):
    """One contouring request: outbox, lease and result record in one row."""

    __tablename__ = "contour_job"
    __table_args__ = (
        sa.Index(None, "state", "created_at"),
        sa.Index(None, "state", "lease_until"),
        sa.Index(None, "created_at", "id"),
        sa.Index(None, "purged_at", "finished_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    """Also the key of its result in storage."""
    series_id: Mapped[UUID] = mapped_column(sa.ForeignKey("series.id"), index=True)
    correlation_id: Mapped[str] = mapped_column(sa.String(64))
    """Of the request that made it; every log line of the job carries it."""
    state: Mapped[JobState] = mapped_column(text_enum(JobState), default=JobState.QUEUED)
    stage: Mapped[JobStage] = mapped_column(text_enum(JobStage), default=JobStage.WAITING)
    progress: Mapped[float] = mapped_column(default=0.0)
    """From 0 to 1 over the whole job."""
    cancel_requested: Mapped[bool] = mapped_column(default=False)

    attempt: Mapped[int] = mapped_column(default=0)
    """Starts so far."""
    max_attempts: Mapped[int]
    fencing_token: Mapped[int] = mapped_column(default=0)
    """Rises with every start; only the latest start may write to the row."""
    lease_owner: Mapped[str | None] = mapped_column(sa.String(128))
    lease_until: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """Once this has passed, the worker counts as lost."""
    published_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When its message was last handed to the broker."""

    error_code: Mapped[str | None] = mapped_column(sa.String(64))
    error_detail: Mapped[str | None] = mapped_column(sa.Text)
    error_context: Mapped[Json | None] = mapped_column(JSON_TYPE)
    warnings: Mapped[list[Json]] = mapped_column(JSON_TYPE, default=list)
    """What a clinician should look at: code, structure, message, facts."""
    volumes_ml: Mapped[dict[str, float] | None] = mapped_column(JSON_TYPE)
    """By structure name."""
    seconds: Mapped[dict[str, float] | None] = mapped_column(JSON_TYPE)
    """By stage of the work."""
    settings: Mapped[Json | None] = mapped_column(JSON_TYPE)
    """What the network ran on: device, batch size, threads."""
    model_version: Mapped[str | None] = mapped_column(sa.String(64))
    weights_sha256: Mapped[str | None] = mapped_column(Sha256)
    software_version: Mapped[str | None] = mapped_column(sa.String(32))

    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """Of the latest start."""
    finished_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    purged_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When its result was removed."""


class IdempotencyRecord(Base):
    """The resource that an Idempotency-Key made on a route."""

    __tablename__ = "idempotency_record"
    __table_args__ = (sa.UniqueConstraint("route", "key"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    route: Mapped[str] = mapped_column(sa.String(64))
    key: Mapped[str] = mapped_column(sa.String(255))
    request_sha256: Mapped[str] = mapped_column(Sha256)
    """Fingerprint of the request; the same key with another request is refused."""
    resource_id: Mapped[UUID]
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime, index=True)


class WorkerHeartbeat(Base):
    """A worker as it last reported itself."""

    __tablename__ = "worker_heartbeat"

    name: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    queue: Mapped[QueueName] = mapped_column(text_enum(QueueName))
    device: Mapped[str] = mapped_column(sa.String(16))
    software_version: Mapped[str] = mapped_column(sa.String(32))
    weights_loaded: Mapped[bool]
    """Whether the process that contours holds the network in memory now."""
    model_version: Mapped[str | None] = mapped_column(sa.String(64))
    weights_sha256: Mapped[str | None] = mapped_column(Sha256)
    seen_at: Mapped[dt.datetime] = mapped_column(UtcDateTime, index=True)
