"""Every statement about reviews and their grades."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from services.core.actor import SYSTEM, Actor
from services.core.database import Now
from services.core.errors import ReviewNotFoundError
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.reviews import AgreementTally, Review, ReviewGrade, ReviewTally

GRADE_COLUMNS = ("acceptable", "minor_revision", "major_revision", "unacceptable")
"""Of ReviewTally: the values of ml.grading.Grade in their order."""


class SliceGrade(Protocol):
    """The grade of one structure in one slice."""

    @property
    def structure(self) -> str:
        """Its name."""
        ...

    @property
    def slice_number(self) -> int:
        """From 1."""
        ...

    @property
    def grade(self) -> str:
        """One of GRADE_COLUMNS."""
        ...

    @property
    def tags(self) -> Sequence[str]:
        """Reasons."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class NewReview:
    """What a reader said of a job."""

    job_id: UUID
    reviewer: str
    minutes: float | None
    comment: str | None


class ReviewRepository:
    """Reviews of contour jobs; new ones are the actor's."""

    def __init__(self, session: Session, now: Now, actor: Actor = SYSTEM) -> None:
        self._session = session
        self._now = now
        self._actor = actor

    def add(self, new: NewReview, grades: Iterable[SliceGrade]) -> Review:
        """Keep a review in place of the reader's earlier ones of the job, which stay as a record.

        Lock the job before (ContourJobRepository.get_locked): of two reviews of one reader at the
        same time one supersedes the other.

        grades: each slice of a structure once.
        """
        self._supersede(new.job_id, new.reviewer)
        review = Review(
            job_id=new.job_id,
            reviewer=new.reviewer,
            reviewed_by=self._actor.id,
            minutes=new.minutes,
            comment=new.comment,
            created_at=self._now(),
        )
        self._session.add(review)
        self._session.flush()
        rows = [_grade_row(review.id, grade) for grade in grades]
        if rows:
            self._session.execute(sa.insert(ReviewGrade), rows)
            self._session.execute(sa.insert(ReviewTally), _tally_rows(review.id, rows))
            self._tally_agreement(review)
        return review

    def get(self, review_id: UUID) -> Review:
        """Return a review as it is now.

        Raises:
            ReviewNotFoundError: no row has the id.
        """
        found = self._session.get(Review, review_id, populate_existing=True)
        if found is None:
            raise ReviewNotFoundError(review_id)
        return found

    def page(self, job_id: UUID, limit: int, after: PageCursor | None = None) -> list[Review]:
        """List the reviews of a job, newest first, from behind a cursor."""
        query = sa.select(Review).where(Review.job_id == job_id)
        return list(self._session.scalars(page_of(query, Review, after).limit(limit)))

    def tallies(self, review_ids: Sequence[UUID]) -> dict[UUID, list[ReviewTally]]:
        """Return how often these reviews gave each grade, by structure in order of name."""
        found: dict[UUID, list[ReviewTally]] = {review_id: [] for review_id in review_ids}
        for tally in self._session.scalars(
            sa.select(ReviewTally)
            .where(ReviewTally.review_id.in_(review_ids))
            .order_by(ReviewTally.structure)
        ):
            found[tally.review_id].append(tally)
        return found

    def grades(self, review_id: UUID) -> list[ReviewGrade]:
        """Return the grades of a review, by structure and slice."""
        return list(
            self._session.scalars(
                sa.select(ReviewGrade)
                .where(ReviewGrade.review_id == review_id)
                .order_by(ReviewGrade.structure, ReviewGrade.slice_number)
            )
        )

    def _supersede(self, job_id: UUID, reviewer: str) -> None:
        self._session.execute(
            sa.update(Review)
            .where(
                Review.job_id == job_id,
                Review.reviewer == reviewer,
                Review.superseded_at.is_(None),
            )
            .values(superseded_at=self._now())
            .execution_options(synchronize_session=False)
        )

    def _tally_agreement(self, review: Review) -> None:
        """Count what this review and the current ones of other readers said of common slices."""
        others = self._session.execute(
            sa.select(Review.id, Review.reviewer).where(
                Review.job_id == review.job_id,
                Review.superseded_at.is_(None),
                Review.id != review.id,
            )
        )
        for other in others.all():
            own_is_first = review.reviewer < other.reviewer
            pair = (review.id, other.id) if own_is_first else (other.id, review.id)
            self._session.execute(_agreement_of(*pair))


def _grade_row(review_id: UUID, grade: SliceGrade) -> dict[str, object]:
    return {
        "review_id": review_id,
        "structure": grade.structure,
        "slice_number": grade.slice_number,
        "grade": grade.grade,
        "tags": list(grade.tags),
    }


def _tally_rows(review_id: UUID, rows: list[dict[str, object]]) -> list[dict[str, object]]:
    counts = Counter((row["structure"], row["grade"]) for row in rows)
    structures = {structure for structure, _ in counts}
    return [
        {"review_id": review_id, "structure": structure}
        | {grade: counts[structure, grade] for grade in GRADE_COLUMNS}
        for structure in structures
    ]


def _agreement_of(first_id: UUID, second_id: UUID) -> sa.Insert:
    first, second = aliased(ReviewGrade), aliased(ReviewGrade)
    counted = (
        sa.select(
            sa.literal(first_id, sa.Uuid()),
            sa.literal(second_id, sa.Uuid()),
            first.structure,
            first.grade,
            second.grade,
            sa.func.count(),
        )
        .select_from(first)
        .join(
            second,
            sa.and_(second.structure == first.structure, second.slice_number == first.slice_number),
        )
        .where(first.review_id == first_id, second.review_id == second_id)
        .group_by(first.structure, first.grade, second.grade)
    )
    columns = ["first_id", "second_id", "structure", "first_grade", "second_grade", "slices"]
    return sa.insert(AgreementTally).from_select(columns, counted)
