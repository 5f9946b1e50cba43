"""Every statement about who works on a contouring job: claim, heartbeat, end, recovery.

A start of a job holds a lease and a fencing token. Every later statement of that start names
the token, so a worker that was frozen past its lease changes nothing any more.
"""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.lifecycle import JobErrorCode, JobStage, JobState
from services.core.tables import ContourJob, Json

RESEND_WINDOW = 20
"""Only the oldest queued jobs are sent again: a long queue must not fill with repeated messages,
and what stands behind them is not due yet anyway."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One start of a job by one worker."""

    job_id: UUID
    series_id: UUID
    correlation_id: str
    attempt: int
    fencing_token: int


class LeaseAnswer(StrEnum):
    """What a heartbeat learns."""

    HELD = "held"
    CANCEL_REQUESTED = "cancel_requested"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reaped:
    """What became of the jobs whose worker fell silent."""

    requeued: tuple[UUID, ...]
    failed: tuple[UUID, ...]
    cancelled: tuple[UUID, ...]


class LeaseRepository:
    """Work on contouring jobs."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def claim(self, job_id: UUID, *, owner: str, seconds: float) -> Claim | None:
        """Start a queued job under a new fencing token; None when there is nothing to start."""
        row = self._session.execute(
            sa.update(ContourJob)
            .where(ContourJob.id == job_id, ContourJob.state == JobState.QUEUED)
            .values(
                state=JobState.RUNNING,
                stage=JobStage.READING,
                progress=0.0,
                attempt=ContourJob.attempt + 1,
                fencing_token=ContourJob.fencing_token + 1,
                lease_owner=owner,
                lease_until=self._now() + dt.timedelta(seconds=seconds),
                started_at=self._now(),
            )
            .returning(
                ContourJob.series_id,
                ContourJob.correlation_id,
                ContourJob.attempt,
                ContourJob.fencing_token,
            )
        ).one_or_none()
        if row is None:
            return None
        return Claim(
            job_id=job_id,
            series_id=row.series_id,
            correlation_id=row.correlation_id,
            attempt=row.attempt,
            fencing_token=row.fencing_token,
        )

    def beat(
        self, claim: Claim, *, seconds: float, stage: JobStage, progress: float
    ) -> LeaseAnswer:
        """Extend a lease, note the progress and learn whether to go on."""
        cancel_requested = self._session.execute(
            self._update_of(claim)
            .values(
                lease_until=self._now() + dt.timedelta(seconds=seconds),
                stage=stage,
                progress=progress,
            )
            .returning(ContourJob.cancel_requested)
        ).scalar_one_or_none()
        if cancel_requested is None:
            return LeaseAnswer.LOST
        return LeaseAnswer.CANCEL_REQUESTED if cancel_requested else LeaseAnswer.HELD

    def succeed(self, claim: Claim, outcome: Json) -> bool:
        """End a job as SUCCEEDED with the columns of its outcome; False if the lease was lost.

        The row stays locked until the transaction ends: publish the result before the commit.
        """
        return self._end(claim, JobState.SUCCEEDED, progress=1.0, **outcome)

    def fail(self, claim: Claim, *, code: str, detail: str, context: Json) -> bool:
        """End a job as FAILED; False if the lease was lost."""
        return self._end(
            claim, JobState.FAILED, error_code=code, error_detail=detail, error_context=context
        )

    def cancel(self, claim: Claim) -> bool:
        """End a job as CANCELLED; False if the lease was lost."""
        return self._end(claim, JobState.CANCELLED)

    def reap(self) -> Reaped:
        """Take jobs from workers that fell silent: queued again, or ended where that is no use."""
        expired = sa.and_(
            ContourJob.state == JobState.RUNNING, ContourJob.lease_until < self._now()
        )
        cancelled = self._reap(
            sa.and_(expired, ContourJob.cancel_requested), **self._ended(JobState.CANCELLED)
        )
        failed = self._reap(
            sa.and_(expired, ContourJob.attempt >= ContourJob.max_attempts),
            error_code=JobErrorCode.WORKER_LOST,
            error_detail="every worker that started the job was lost",
            **self._ended(JobState.FAILED),
        )
        requeued = self._reap(
            expired,
            state=JobState.QUEUED,
            stage=JobStage.WAITING,
            progress=0.0,
            published_at=None,
        )
        return Reaped(requeued=requeued, failed=failed, cancelled=cancelled)

    def due_for_sending(self, *, resend_seconds: float) -> list[UUID]:
        """List queued jobs whose message was never sent, or so long ago that it may be lost."""
        queued = sa.select(ContourJob.id).where(ContourJob.state == JobState.QUEUED)
        oldest = queued.order_by(ContourJob.created_at, ContourJob.id).limit(RESEND_WINDOW)
        latest = self._now() - dt.timedelta(seconds=resend_seconds)
        stale = sa.and_(ContourJob.id.in_(oldest), ContourJob.published_at < latest)
        return list(
            self._session.scalars(
                queued.where(sa.or_(ContourJob.published_at.is_(None), stale)).order_by(
                    ContourJob.created_at, ContourJob.id
                )
            )
        )

    def mark_sent(self, job_ids: list[UUID]) -> None:
        """Note that the messages of these jobs were handed to the broker now."""
        self._session.execute(
            sa.update(ContourJob)
            .where(ContourJob.id.in_(job_ids), ContourJob.state == JobState.QUEUED)
            .values(published_at=self._now())
            .execution_options(synchronize_session=False)
        )

    def _update_of(self, claim: Claim) -> sa.Update:
        return (
            sa.update(ContourJob)
            .where(
                ContourJob.id == claim.job_id,
                ContourJob.state == JobState.RUNNING,
                ContourJob.fencing_token == claim.fencing_token,
            )
            .execution_options(synchronize_session=False)
        )

    def _end(self, claim: Claim, state: JobState, **values: object) -> bool:
        statement = self._update_of(claim).values(**values, **self._ended(state))
        return self._session.execute(statement.returning(ContourJob.id)).first() is not None

    def _ended(self, state: JobState) -> Json:
        return {
            "state": state,
            "stage": JobStage.DONE,
            "lease_owner": None,
            "lease_until": None,
            "finished_at": self._now(),
        }

    def _reap(self, lost: sa.ColumnElement[bool], **values: object) -> tuple[UUID, ...]:
        cleared = {"lease_owner": None, "lease_until": None} | values
        reaped = self._session.scalars(
            sa.update(ContourJob)
            .where(lost)
            .values(**cleared)
            .returning(ContourJob.id)
            .execution_options(synchronize_session=False)
        )
        return tuple(reaped)
