"""Every statement on how contours fare over time: edits, warnings, and the shadow's view."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.database import json_size, month_of
from services.core.lifecycle import JobState
from services.core.tables.contouring import ContourJob
from services.core.tables.model_versions import ShadowContour
from services.core.tables.reviews import EditedRtstruct


class DriftBy(StrEnum):
    """What jobs are grouped by."""

    MONTH = "month"
    """When the contours were asked for, in UTC."""
    MODEL_VERSION = "model_version"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobTotals:
    """Jobs of a group that succeeded, and their QA warnings."""

    jobs: int
    warnings: int
    jobs_with_warnings: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureMeans:
    """Means over what was compared in a group, of one structure."""

    group: str | None
    structure: str
    compared: int
    means: tuple[float | None, ...]
    """In the order asked for; over the values that are numbers."""


class DriftRepository:
    """How contours fare, by month or by the weights that drew them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def jobs(self, by: DriftBy) -> dict[str | None, JobTotals]:
        """Count jobs and their warnings, in order of the group."""
        group, warnings = _group(by), json_size(ContourJob.warnings)
        query = (
            sa.select(
                group,
                sa.func.count(),
                sa.func.sum(warnings),
                sa.func.sum(sa.case((warnings > 0, 1), else_=0)),
            )
            .where(ContourJob.state == JobState.SUCCEEDED)
            .group_by(group)
            .order_by(group)
        )
        return {
            row[0]: JobTotals(jobs=row[1], warnings=int(row[2]), jobs_with_warnings=int(row[3]))
            for row in self._session.execute(query)
        }

    def edits(
        self, by: DriftBy, structures: Sequence[str], measures: Sequence[str]
    ) -> list[StructureMeans]:
        """Return mean scores of the edits of these structures, group by group."""
        compared = sa.select(EditedRtstruct).where(EditedRtstruct.state == JobState.SUCCEEDED)
        scores = EditedRtstruct.scores
        return self._means(
            by,
            {
                structure: [scores["structures", structure, name] for name in measures]
                for structure in structures
            },
            compared.join(ContourJob, ContourJob.id == EditedRtstruct.job_id),
        )

    def shadows(
        self, by: DriftBy, structures: Sequence[str], measures: Sequence[str]
    ) -> list[StructureMeans]:
        """Return mean agreement of the shadow with what the jobs of a group released."""
        compared = sa.select(ShadowContour).where(ShadowContour.state == JobState.SUCCEEDED)
        scores = ShadowContour.scores
        return self._means(
            by,
            {structure: [scores[structure, name] for name in measures] for structure in structures},
            compared.join(ContourJob, ContourJob.id == ShadowContour.job_id),
        )

    def _means(
        self, by: DriftBy, paths: dict[str, list[Any]], compared: sa.Select[Any]
    ) -> list[StructureMeans]:
        """Return count and means of every structure; the count is that of the first measure."""
        group = _group(by)
        columns: list[sa.ColumnElement[Any]] = []
        for own in paths.values():
            values = [path.as_float() for path in own]
            columns += [sa.func.count(values[0]), *(sa.func.avg(value) for value in values)]
        query = compared.with_only_columns(group, *columns).group_by(group).order_by(group)
        found: list[StructureMeans] = []
        for row in self._session.execute(query):
            rest = list(row[1:])
            for structure, own in paths.items():
                (count, *means), rest = rest[: len(own) + 1], rest[len(own) + 1 :]
                if count:
                    numbers = tuple(None if mean is None else float(mean) for mean in means)
                    found.append(
                        StructureMeans(
                            group=row[0], structure=structure, compared=count, means=numbers
                        )
                    )
        return found


def _group(by: DriftBy) -> sa.SQLColumnExpression[Any]:
    if by is DriftBy.MONTH:
        return month_of(ContourJob.created_at)
    return ContourJob.model_version
