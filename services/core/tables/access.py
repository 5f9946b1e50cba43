"""Who may use the service, and what belongs to whom."""

import datetime as dt
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.core.actor import Role
from services.core.database import Base, UtcDateTime, text_enum
from services.core.tables.leased import Sha256

ACTOR_ID_LENGTH = 255
"""Characters of an actor's id."""

ActorId = sa.String(ACTOR_ID_LENGTH)


class ApiKey(Base):
    """A key that a client shows with every request; only its hash is kept."""

    __tablename__ = "api_key"
    __table_args__ = (sa.Index(None, "created_at", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    client_id: Mapped[UUID] = mapped_column(index=True)
    """Whose key it is: stays the same when the key is renewed, so that what the client submitted
    stays its own."""
    name: Mapped[str] = mapped_column(sa.String(80))
    """For people: where the key is used."""
    role: Mapped[Role] = mapped_column(text_enum(Role))
    key_sha256: Mapped[str] = mapped_column(Sha256, unique=True)
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(ActorId)
    expires_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """None for a key that somebody wanted to last for ever."""
    revoked_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """To the minute."""


class SeriesOwner(Base):
    """A client that posted a series; the same content may have been posted by several."""

    __tablename__ = "series_owner"
    __table_args__ = (sa.Index(None, "actor_id", "created_at", "series_id"),)

    series_id: Mapped[UUID] = mapped_column(sa.ForeignKey("series.id"), primary_key=True)
    actor_id: Mapped[str] = mapped_column(ActorId, primary_key=True)
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    """Of the series: an owner's list runs along the index."""


class ReaderName(Base):
    """A reader's name, and the client whose reviews carry it: nobody reviews in another's name."""

    __tablename__ = "reader_name"

    name: Mapped[str] = mapped_column(sa.String(80), primary_key=True)
    actor_id: Mapped[str] = mapped_column(ActorId)
