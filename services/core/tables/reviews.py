"""What clinicians say of contours, and the contours as they corrected them."""

import datetime as dt
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.core.database import JSON_TYPE, Base, UtcDateTime
from services.core.tables.access import ActorId
from services.core.tables.leased import Json, Leased, Sha256, lease_indexes


class Review(Base):
    """One reader's grades of one job; the latest of a reader counts."""

    __tablename__ = "review"
    __table_args__ = (
        sa.Index(None, "job_id", "reviewer"),
        sa.Index(None, "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    job_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contour_job.id"))
    reviewer: Mapped[str] = mapped_column(sa.String(80))
    """The reader's name, which reports count by."""
    reviewed_by: Mapped[str | None] = mapped_column(ActorId)
    """Id of the actor that sent it; None for reviews older than actors."""
    minutes: Mapped[float | None]
    """Spent on the review and its corrections."""
    comment: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    superseded_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When the same reader reviewed the job again."""


class ReviewGrade(Base):
    """The grade of one structure in one slice."""

    __tablename__ = "review_grade"

    review_id: Mapped[UUID] = mapped_column(sa.ForeignKey("review.id"), primary_key=True)
    structure: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    slice_number: Mapped[int] = mapped_column(primary_key=True)
    """From 1, in the series' order in storage."""
    grade: Mapped[str] = mapped_column(sa.String(16))
    """A value of ml.grading.Grade."""
    tags: Mapped[list[str]] = mapped_column(JSON_TYPE, default=list)
    """Reasons."""


class ReviewTally(Base):
    """How often a review gave each grade to a structure: its grades, counted when it was made.

    Reports add these up; counting a few hundred thousand grades again takes them half a second.
    """

    __tablename__ = "review_tally"

    review_id: Mapped[UUID] = mapped_column(sa.ForeignKey("review.id"), primary_key=True)
    structure: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    acceptable: Mapped[int]
    minor_revision: Mapped[int]
    major_revision: Mapped[int]
    unacceptable: Mapped[int]


class AgreementTally(Base):
    """What two readers' reviews of one job said of the slices that both graded, counted."""

    __tablename__ = "agreement_tally"

    first_id: Mapped[UUID] = mapped_column(sa.ForeignKey("review.id"), primary_key=True)
    """Review of the reader whose name comes first."""
    second_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("review.id"), primary_key=True, index=True
    )
    structure: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    first_grade: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    second_grade: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    slices: Mapped[int]


class EditedRtstruct(Leased):
    """A job's RTSTRUCT as a clinician corrected it; compared with the original by a worker."""

    __tablename__ = "edited_rtstruct"
    __table_args__ = (*lease_indexes(), sa.UniqueConstraint("job_id", "content_sha256"))

    job_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contour_job.id"))
    review_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("review.id"))
    reviewer: Mapped[str] = mapped_column(sa.String(80))
    sent_by: Mapped[str | None] = mapped_column(ActorId)
    """Id of the actor that sent it; None for files older than actors."""
    content_sha256: Mapped[str] = mapped_column(Sha256)
    byte_count: Mapped[int] = mapped_column(sa.BigInteger)
    scores: Mapped[Json | None] = mapped_column(JSON_TYPE)
    """`structures`: by name, Dice, distances, added path length, volumes. `warnings`: what was
    left out or assumed."""
    purged_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When its file was removed."""
