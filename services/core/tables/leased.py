"""What every row that a worker works on has: outbox, lease and outcome in one row."""

import datetime as dt
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.core.database import JSON_TYPE, Base, UtcDateTime, text_enum
from services.core.lifecycle import JobStage, JobState

Uid = sa.String(64)
Sha256 = sa.String(64)
Json = dict[str, Any]  # Any: nested json values


class Leased(Base):
    """Base of tables whose rows are queued, worked on under a lease and ended once."""

    __abstract__ = True

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    """Also the key of what the work leaves in storage."""
    correlation_id: Mapped[str] = mapped_column(sa.String(64))
    """Of the request that made it; every log line of the work carries it."""
    state: Mapped[JobState] = mapped_column(text_enum(JobState), default=JobState.QUEUED)
    stage: Mapped[JobStage] = mapped_column(text_enum(JobStage), default=JobStage.WAITING)
    progress: Mapped[float] = mapped_column(default=0.0)
    """From 0 to 1 over the whole work."""
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

    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """Of the latest start."""
    finished_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)


def lease_indexes() -> tuple[sa.Index, ...]:
    """Return the indexes by which queues are listed and lost leases found."""
    return (
        sa.Index(None, "state", "created_at"),
        sa.Index(None, "state", "lease_until"),
        sa.Index(None, "created_at", "id"),
    )
