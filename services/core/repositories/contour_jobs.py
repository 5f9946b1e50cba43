"""Every statement about contouring jobs that those who ask for them need."""

import datetime as dt
from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.actor import SYSTEM, Actor
from services.core.database import Now
from services.core.errors import ContourJobNotFoundError, IllegalTransitionError
from services.core.lifecycle import JobState, is_legal
from services.core.queue import TaskName
from services.core.repositories.leases import LeaseRepository
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.contouring import ContourJob
from services.core.tables.reviews import EditedRtstruct


class ContourJobRepository:
    """Contouring jobs, as one actor sees them.

    One that sees only what is its own finds nothing else here: not even that it exists.
    """

    def __init__(self, session: Session, now: Now, actor: Actor = SYSTEM) -> None:
        self._session = session
        self._now = now
        self._actor = actor

    def add(self, series_id: UUID, *, correlation_id: str, max_attempts: int) -> ContourJob:
        """Queue a job; lock its series before (SeriesRepository.get_locked)."""
        job = ContourJob(
            series_id=series_id,
            submitted_by=self._actor.id,
            correlation_id=correlation_id,
            max_attempts=max_attempts,
            created_at=self._now(),
        )
        self._session.add(job)
        self._session.flush()
        return job

    def get(self, job_id: UUID) -> ContourJob:
        """Return a job as it is now.

        Raises:
            ContourJobNotFoundError: no row has the id.
        """
        found = self._session.get(ContourJob, job_id, populate_existing=True)
        return self._seen(job_id, found)

    def get_locked(self, job_id: UUID) -> ContourJob:
        """Return a job whose result nobody purges before this transaction ends.

        Raises:
            ContourJobNotFoundError: no row has the id.
        """
        return self._seen(job_id, self._locked(job_id))

    def lock_of_series(self, series_id: UUID) -> None:
        """Lock the jobs of a series, in an order of their own, until this transaction ends."""
        own = sa.select(ContourJob.id).where(ContourJob.series_id == series_id)
        self._session.execute(own.order_by(ContourJob.id).with_for_update()).all()

    def page(
        self,
        limit: int,
        after: PageCursor | None = None,
        *,
        state: JobState | None = None,
        series_id: UUID | None = None,
    ) -> list[ContourJob]:
        """List jobs, newest first, from behind a cursor."""
        query = sa.select(ContourJob)
        if state is not None:
            query = query.where(ContourJob.state == state)
        if series_id is not None:
            query = query.where(ContourJob.series_id == series_id)
        if self._actor.sees_only_own:
            query = query.where(ContourJob.submitted_by == self._actor.id)
        return list(self._session.scalars(page_of(query, ContourJob, after).limit(limit)))

    def of_series(self, series_id: UUID) -> list[ContourJob]:
        """List every job of a series, whoever submitted it: what is done to the series ends all."""
        own = sa.select(ContourJob).where(ContourJob.series_id == series_id)
        return list(self._session.scalars(own.order_by(ContourJob.id)))

    def queue_position(self, job: ContourJob) -> int | None:
        """Return how many queued jobs run before this one, or None once it left the queue."""
        return self.queue_positions([job]).get(job.id)

    def queue_positions(self, jobs: Sequence[ContourJob]) -> dict[UUID, int]:
        """Return, by id, how many queued jobs run before each of these that is queued."""
        leases = LeaseRepository(self._session, self._now)
        return leases.queue_positions(TaskName.CONTOUR_JOB_RUN, jobs)

    def count_by_state(self) -> dict[JobState, int]:
        """Count the jobs in every state that has any."""
        rows = self._session.execute(
            sa.select(ContourJob.state, sa.func.count()).group_by(ContourJob.state)
        )
        return {row.state: row[1] for row in rows}

    def request_cancel(self, job_id: UUID) -> ContourJob:
        """Cancel a queued job at once; ask the worker of a running one to stop.

        Raises:
            ContourJobNotFoundError: no row has the id.
            IllegalTransitionError: the job succeeded or failed before.
        """
        self.get(job_id)
        LeaseRepository(self._session, self._now).request_cancel(TaskName.CONTOUR_JOB_RUN, job_id)
        job = self.get(job_id)
        if job.state is not JobState.CANCELLED and not is_legal(job.state, JobState.CANCELLED):
            raise IllegalTransitionError(job_id, job.state, JobState.CANCELLED)
        return job

    def due_for_purge(self, before: dt.datetime, limit: int) -> list[UUID]:
        """List jobs that ended before a moment, were not purged and are compared with no edit."""
        kept = sa.exists().where(
            EditedRtstruct.job_id == ContourJob.id, EditedRtstruct.purged_at.is_(None)
        )
        return list(
            self._session.scalars(
                sa.select(ContourJob.id)
                .where(ContourJob.purged_at.is_(None), ContourJob.finished_at < before, ~kept)
                .order_by(ContourJob.finished_at)
                .limit(limit)
            )
        )

    def purge(self, job_id: UUID) -> bool:
        """Mark an ended job as without result, unless an edited RTSTRUCT of it is kept.

        The row stays locked until the transaction ends: remove the files before the commit.

        Returns:
            Whether it had a result and has none now.
        """
        # locked first: an edit that is being added meanwhile is seen by the second statement
        job = self._locked(job_id)
        if job is None:
            raise ContourJobNotFoundError(job_id)
        edited = self._session.scalars(
            sa.select(EditedRtstruct.id)
            .where(EditedRtstruct.job_id == job_id, EditedRtstruct.purged_at.is_(None))
            .limit(1)
        ).first()
        if not job.state.is_terminal or job.purged_at is not None or edited is not None:
            return False
        job.purged_at = self._now()
        self._session.flush()
        return True

    def with_result_among(self, job_ids: list[UUID]) -> set[UUID]:
        """Tell which of these ids are jobs whose result is, or may soon be, in storage."""
        return set(
            self._session.scalars(
                sa.select(ContourJob.id).where(
                    ContourJob.id.in_(job_ids),
                    ContourJob.purged_at.is_(None),
                    ContourJob.state.in_([JobState.SUCCEEDED, JobState.RUNNING]),
                )
            )
        )

    def _locked(self, job_id: UUID) -> ContourJob | None:
        return self._session.get(ContourJob, job_id, with_for_update=True, populate_existing=True)

    def _seen(self, job_id: UUID, found: ContourJob | None) -> ContourJob:
        if found is None or not self._actor.may_see(found.submitted_by):
            raise ContourJobNotFoundError(job_id)
        return found
