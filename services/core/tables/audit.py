"""Who did what, entry by entry, and what was deleted."""

import datetime as dt
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.core.actor import ActorKind, Role
from services.core.audit import Action, ResourceKind
from services.core.database import JSON_TYPE, Base, UtcDateTime, text_enum
from services.core.lifecycle import DeletionCause
from services.core.tables.leased import Json, Sha256


class AuditEntry(Base):
    """One thing that somebody did; rows are only added, which triggers see to."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        sa.Index(None, "actor_id", "sequence"),
        sa.Index(None, "resource_id", "sequence"),
        sa.Index(None, "at"),
    )

    sequence: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=False
    )
    """From 1, without a gap, in the order of the commits."""
    at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    """Of the commit."""
    actor_kind: Mapped[ActorKind] = mapped_column(text_enum(ActorKind))
    actor_id: Mapped[str] = mapped_column(sa.String(255))
    actor_name: Mapped[str] = mapped_column(sa.Text)
    role: Mapped[Role | None] = mapped_column(text_enum(Role))
    address: Mapped[str | None] = mapped_column(sa.String(64))
    """Network address that the request came from."""
    correlation_id: Mapped[str | None] = mapped_column(sa.String(64))
    """Of the request; also in its log lines and in the rows it made."""
    action: Mapped[Action] = mapped_column(text_enum(Action, length=64))
    resource_kind: Mapped[ResourceKind] = mapped_column(text_enum(ResourceKind, length=32))
    resource_id: Mapped[str | None] = mapped_column(sa.String(64))
    facts: Mapped[Json] = mapped_column(JSON_TYPE)
    """Ids, codes and counts."""
    previous_sha256: Mapped[str] = mapped_column(Sha256)
    sha256: Mapped[str] = mapped_column(Sha256)
    """Of everything else in the row; see services.core.audit_chain."""


class AuditHead(Base):
    """The one row that knows the last entry; whoever adds one holds it until the commit."""

    __tablename__ = "audit_head"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sequence: Mapped[int] = mapped_column(sa.BigInteger)
    sha256: Mapped[str] = mapped_column(Sha256)


class Deletion(Base):
    """What was removed, on whose word; the record stays when all else is gone."""

    __tablename__ = "deletion"
    __table_args__ = (
        sa.Index(None, "created_at", "id"),
        sa.Index(None, "resource_id"),
        sa.Index(None, "completed_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    resource_kind: Mapped[ResourceKind] = mapped_column(text_enum(ResourceKind, length=32))
    resource_id: Mapped[UUID]
    cause: Mapped[DeletionCause] = mapped_column(text_enum(DeletionCause))
    actor_kind: Mapped[ActorKind] = mapped_column(text_enum(ActorKind))
    actor_id: Mapped[str] = mapped_column(sa.String(255))
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    """When it was asked for: from this moment on nothing of it is given away."""
    completed_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When the last file was gone."""
    folders: Mapped[list[Json]] = mapped_column(JSON_TYPE)
    """Kind and id of every folder in storage; files and bytes once they were counted."""
    rows: Mapped[dict[str, int]] = mapped_column(JSON_TYPE)
    """Rows by kind from which personal content was taken, or that were removed."""
    remaining: Mapped[dict[str, list[str]]] = mapped_column(JSON_TYPE)
    """What was made of it before and stays, by kind: ids."""
    sha256: Mapped[str | None] = mapped_column(Sha256)
    """Of the completed record; the audit trail has it, too."""
