"""What is counted for good: numbers that only rise, whatever is restarted or removed."""

import datetime as dt
from enum import StrEnum
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.core.database import JSON_TYPE, Base, UtcDateTime, text_enum


class TallyKind(StrEnum):
    """What is counted; the comments name subject, detail and reason of its rows."""

    ENDED = "ended"
    """A task, the state its row ended in, and the error code or nothing."""
    SECONDS = "seconds"
    """A task, a stage of the work, and the upper bound of a bucket."""
    ORPHANS = "orphans"
    """A kind of stored files."""
    TAKEN_OVER = "taken_over"
    """A task, and what became of the row whose worker was lost."""
    SENT_AGAIN = "sent_again"
    """A task whose message was sent again."""


class Tally(Base):
    """How often something happened since the database was made."""

    __tablename__ = "tally"

    kind: Mapped[TallyKind] = mapped_column(text_enum(TallyKind), primary_key=True)
    subject: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    detail: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    reason: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    count: Mapped[int] = mapped_column(sa.BigInteger)
    seconds: Mapped[float] = mapped_column(default=0.0)
    """Sum of what was measured; 0 where nothing is."""


class EndedWork(Base):
    """Ends of work that no tally has yet.

    Written in the transaction that ends the work, where adding to a tally would have every worker
    wait for every other one's commit.
    """

    __tablename__ = "ended_work"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    task: Mapped[str] = mapped_column(sa.String(32))
    state: Mapped[str] = mapped_column(sa.String(16))
    error_code: Mapped[str] = mapped_column(sa.String(64), default="")
    count: Mapped[int] = mapped_column(default=1)
    seconds: Mapped[dict[str, float]] = mapped_column(JSON_TYPE, default=dict)
    """By stage, of one piece of work."""


class StoredBytes(Base):
    """What the files of one kind took up when they were last looked through."""

    __tablename__ = "stored_bytes"

    kind: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    byte_count: Mapped[int] = mapped_column(sa.BigInteger)
    measured_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
