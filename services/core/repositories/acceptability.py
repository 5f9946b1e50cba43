"""Every statement that counts what readers said: grades by group, and their agreement.

Only the latest review of a reader for a job counts.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from services.core.database import month_of
from services.core.repositories.reviews import GRADE_COLUMNS
from services.core.tables.contouring import ContourJob
from services.core.tables.reviews import AgreementTally, Review, ReviewTally

Key = tuple[str | None, ...]
"""Values of what is grouped by, in its order."""

Column = sa.SQLColumnExpression[Any]  # Any: columns of several types in one list


class GroupKey(StrEnum):
    """What reviews may be grouped by."""

    STRUCTURE = "structure"
    MODEL_VERSION = "model_version"
    """Name of the weights that drew the contours."""
    MONTH = "month"
    """Of the review, in UTC."""
    REVIEWER = "reviewer"
    JOB_MONTH = "job_month"
    """When the contours were asked for, in UTC."""


_COLUMN_OF: Mapping[GroupKey, Column] = {
    GroupKey.STRUCTURE: ReviewTally.structure,
    GroupKey.MODEL_VERSION: ContourJob.model_version,
    GroupKey.MONTH: month_of(Review.created_at),
    GroupKey.REVIEWER: Review.reviewer,
    GroupKey.JOB_MONTH: month_of(ContourJob.created_at),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewFilter:
    """Which reviews are counted; None is any."""

    model_version: str | None = None
    structure: str | None = None
    reviewer: str | None = None
    created_from: dt.datetime | None = None
    created_to: dt.datetime | None = None
    """The moment itself excluded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GradeCount:
    """How often each grade was given to a structure in a group."""

    key: Key
    structure: str
    counts: tuple[int, int, int, int]
    """In the order of GRADE_COLUMNS."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupTotals:
    """What a group's grades come from."""

    jobs: int
    reviews: int
    readers: int
    median_minutes: float | None
    """Of the reviews that tell them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgreementCell:
    """In how many slices of a structure one reader said this and the other that."""

    structure: str
    readers: tuple[str, str]
    grades: tuple[str, str]
    slices: int


class AcceptabilityRepository:
    """What readers said of contours, counted by the database."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def count_grades(self, wanted: ReviewFilter, group_by: Sequence[GroupKey]) -> list[GradeCount]:
        """Count the grades of every structure in every group, both in order of name."""
        keys = _columns(group_by)
        sums = [sa.func.sum(getattr(ReviewTally, grade)) for grade in GRADE_COLUMNS]
        order = (*keys, ReviewTally.structure)
        query = sa.select(*keys, ReviewTally.structure, *sums).group_by(*order).order_by(*order)
        found: list[GradeCount] = []
        for row in self._session.execute(_narrowed(query, wanted)):
            *key, structure, first, second, third, fourth = tuple(row)
            counts = (int(first), int(second), int(third), int(fourth))
            found.append(GradeCount(key=tuple(key), structure=structure, counts=counts))
        return found

    def totals(self, wanted: ReviewFilter, group_by: Sequence[GroupKey]) -> dict[Key, GroupTotals]:
        """Count jobs, reviews and readers of every group that has grades."""
        keys = _columns(group_by)
        counts = [
            sa.func.count(sa.distinct(column))
            for column in (Review.job_id, Review.id, Review.reviewer)
        ]
        query = _narrowed(sa.select(*keys, *counts), wanted).group_by(*keys)
        minutes = self._median_minutes(wanted, group_by)
        found: dict[Key, GroupTotals] = {}
        for row in self._session.execute(query):
            *key, jobs, reviews, readers = tuple(row)
            found[tuple(key)] = GroupTotals(
                jobs=jobs,
                reviews=reviews,
                readers=readers,
                median_minutes=minutes.get(tuple(key)),
            )
        return found

    def agreement(self, wanted: ReviewFilter) -> list[AgreementCell]:
        """Count what every pair of readers said of the slices that both graded.

        Both reviews must be wanted; where a reader is, the pairs are those with this reader.
        """
        first, second = aliased(Review), aliased(Review)
        columns = (
            AgreementTally.structure,
            first.reviewer,
            second.reviewer,
            AgreementTally.first_grade,
            AgreementTally.second_grade,
        )
        query = (
            sa.select(*columns, sa.func.sum(AgreementTally.slices))
            .join(first, first.id == AgreementTally.first_id)
            .join(second, second.id == AgreementTally.second_id)
            .join(ContourJob, ContourJob.id == first.job_id)
            .where(first.superseded_at.is_(None), second.superseded_at.is_(None))
        )
        for review in (first, second):
            query = query.where(*_made_within(review.created_at, wanted))
        if wanted.reviewer is not None:
            query = query.where(
                sa.or_(first.reviewer == wanted.reviewer, second.reviewer == wanted.reviewer)
            )
        query = query.where(*_drawn(AgreementTally.structure, wanted))
        return [
            AgreementCell(
                structure=row[0],
                readers=(row[1], row[2]),
                grades=(row[3], row[4]),
                slices=int(row[5]),
            )
            for row in self._session.execute(query.group_by(*columns).order_by(*columns))
        ]

    def _median_minutes(
        self, wanted: ReviewFilter, group_by: Sequence[GroupKey]
    ) -> dict[Key, float]:
        keys: list[sa.Label[Any]] = [
            key.label(f"key{place}") for place, key in enumerate(_columns(group_by))
        ]
        names = [key.name for key in keys]
        # once a review: the join has a row for each of its structures
        told = _narrowed(sa.select(*keys, Review.id, Review.minutes).distinct(), wanted)
        told_by = told.where(Review.minutes.is_not(None)).subquery()
        own = [told_by.c[name] for name in names]
        place = sa.func.row_number().over(partition_by=own, order_by=told_by.c.minutes)
        count = sa.func.count().over(partition_by=own)
        ranked = sa.select(
            *own, told_by.c.minutes, place.label("place"), count.label("count")
        ).subquery()
        kept = [ranked.c[name] for name in names]
        middle = (ranked.c.place * 2).between(ranked.c["count"], ranked.c["count"] + 2)
        query = sa.select(*kept, sa.func.avg(ranked.c.minutes)).where(middle).group_by(*kept)
        rows = self._session.execute(query).all()
        return {tuple(row[:-1]): float(row[-1]) for row in rows if row[-1] is not None}


def _columns(group_by: Sequence[GroupKey]) -> list[Column]:
    return [_COLUMN_OF[key] for key in group_by]


def _narrowed(
    query: sa.Select[*tuple[Any, ...]], wanted: ReviewFilter
) -> sa.Select[*tuple[Any, ...]]:
    """Join tallies, reviews and jobs, and leave the reviews that count and are wanted."""
    query = (
        query.select_from(ReviewTally)
        .join(Review, Review.id == ReviewTally.review_id)
        .join(ContourJob, ContourJob.id == Review.job_id)
        .where(Review.superseded_at.is_(None))
    )
    query = query.where(*_made_within(Review.created_at, wanted))
    if wanted.reviewer is not None:
        query = query.where(Review.reviewer == wanted.reviewer)
    return query.where(*_drawn(ReviewTally.structure, wanted))


def _made_within(
    created_at: sa.SQLColumnExpression[dt.datetime], wanted: ReviewFilter
) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.created_from is not None:
        conditions.append(created_at >= wanted.created_from)
    if wanted.created_to is not None:
        conditions.append(created_at < wanted.created_to)
    return conditions


def _drawn(
    structure: sa.SQLColumnExpression[str], wanted: ReviewFilter
) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.structure is not None:
        conditions.append(structure == wanted.structure)
    if wanted.model_version is not None:
        conditions.append(ContourJob.model_version == wanted.model_version)
    return conditions
