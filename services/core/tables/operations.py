"""What keeps the service going: repeated requests and living workers."""

import datetime as dt
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.core.actor import SYSTEM
from services.core.database import Base, UtcDateTime, text_enum
from services.core.queue import QueueName
from services.core.tables.access import ActorId
from services.core.tables.leased import Sha256


class IdempotencyRecord(Base):
    """The resource that an Idempotency-Key made on a route."""

    __tablename__ = "idempotency_record"
    __table_args__ = (sa.UniqueConstraint("actor_id", "route", "key"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    actor_id: Mapped[str] = mapped_column(ActorId, server_default=SYSTEM.id)
    """Whose key it is: the same text of two clients is two keys."""
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
    cleared_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When it last looked for files to remove; None before the first time."""
    gpu_memory_used_bytes: Mapped[int | None] = mapped_column(sa.BigInteger)
    """Of the whole device, whoever holds it; None without one, or before it is used."""
    gpu_memory_total_bytes: Mapped[int | None] = mapped_column(sa.BigInteger)
