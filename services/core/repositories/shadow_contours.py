"""Every statement about contours of the shadow version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.lifecycle import JobState
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.model_versions import ShadowContour


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanAgreement:
    """How a version agrees with what was released, over the jobs that have a number."""

    mean: float | None
    """None where no job has a number."""
    jobs: int
    """With a number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShadowSummary:
    """What became of all jobs that a version contoured as a shadow."""

    counts: Mapping[JobState, int]
    failures: Mapping[str, int]
    """By code."""
    agreement: Mapping[str, Mapping[str, MeanAgreement]]
    """By structure and measure."""


class ShadowContourRepository:
    """Jobs as the shadow version contours them."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def get(self, shadow_id: UUID) -> ShadowContour:
        """Return one, known to be there, as it is now."""
        return self._session.get_one(ShadowContour, shadow_id, populate_existing=True)

    def add(
        self, job_id: UUID, version_id: UUID, *, correlation_id: str, max_attempts: int
    ) -> ShadowContour:
        """Queue the shadow of a job that succeeds in this transaction."""
        shadow = ShadowContour(
            job_id=job_id,
            model_version_id=version_id,
            correlation_id=correlation_id,
            max_attempts=max_attempts,
            created_at=self._now(),
        )
        self._session.add(shadow)
        self._session.flush()
        return shadow

    def page(
        self,
        version_id: UUID,
        limit: int,
        after: PageCursor | None = None,
        *,
        state: JobState | None = None,
    ) -> list[ShadowContour]:
        """List what a version contoured as a shadow, newest first, from behind a cursor."""
        query = sa.select(ShadowContour).where(ShadowContour.model_version_id == version_id)
        if state is not None:
            query = query.where(ShadowContour.state == state)
        return list(self._session.scalars(page_of(query, ShadowContour, after).limit(limit)))

    def summary(
        self, version_id: UUID, structures: Sequence[str], measures: Sequence[str]
    ) -> ShadowSummary:
        """Sum up what a version contoured as a shadow: means of the measures in `scores`."""
        own = ShadowContour.model_version_id == version_id
        counted = self._session.execute(
            sa.select(ShadowContour.state, ShadowContour.error_code, sa.func.count().label("jobs"))
            .where(own)
            .group_by(ShadowContour.state, ShadowContour.error_code)
        ).all()
        counts: dict[JobState, int] = {}
        for row in counted:
            counts[row.state] = counts.get(row.state, 0) + row.jobs
        return ShadowSummary(
            counts=counts,
            failures={row.error_code: row.jobs for row in counted if row.error_code is not None},
            agreement=self._agreement(own, structures, measures),
        )

    def with_result_among(self, shadow_ids: list[UUID]) -> set[UUID]:
        """Tell which of these ids are shadows whose result is, or may soon be, in storage."""
        return set(
            self._session.scalars(
                sa.select(ShadowContour.id).where(
                    ShadowContour.id.in_(shadow_ids),
                    ShadowContour.purged_at.is_(None),
                    ShadowContour.state.in_([JobState.SUCCEEDED, JobState.RUNNING]),
                )
            )
        )

    def _agreement(
        self, own: sa.ColumnElement[bool], structures: Sequence[str], measures: Sequence[str]
    ) -> dict[str, dict[str, MeanAgreement]]:
        cells = [(structure, measure) for structure in structures for measure in measures]
        columns: list[sa.ColumnElement[float | int]] = []
        for cell in cells:
            value = ShadowContour.scores[cell].as_float()
            columns += [sa.func.avg(value), sa.func.count(value)]
        row = self._session.execute(
            sa.select(*columns).where(own, ShadowContour.state == JobState.SUCCEEDED)
        ).one()
        found: dict[str, dict[str, MeanAgreement]] = {name: {} for name in structures}
        for place, (structure, measure) in enumerate(cells):
            mean, jobs = row[2 * place], row[2 * place + 1]
            found[structure][measure] = MeanAgreement(mean=mean, jobs=int(jobs))
        return found
