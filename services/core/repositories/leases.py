"""Every statement about who works on a row: claim, heartbeat, end, recovery.

A start of the work holds a lease and a fencing token. Every later statement of that start names
the token, so a worker that was frozen past its lease changes nothing any more.
"""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.lifecycle import JobErrorCode, JobStage, JobState
from services.core.queue import TaskName
from services.core.repositories.tallies import ended_work, measured_seconds
from services.core.tables.contouring import ContourJob
from services.core.tables.datasets import DatasetVersion
from services.core.tables.experiments import Report, Run
from services.core.tables.leased import Json, Leased
from services.core.tables.model_versions import ModelVersion, ShadowContour
from services.core.tables.reviews import EditedRtstruct

RESEND_WINDOW = 20
"""Only the oldest queued rows are sent again: a long queue must not fill with repeated messages,
and what stands behind them is not due yet anyway."""

RESEND_GROWTH = 0.1
"""A message is sent again once the last one has this share of the row's age then. A row that waits
for a day behind trainings costs some two hundred messages, not one a minute."""

RESEND_MOST = 10
"""At most so many times the least pause: a clock that was set forward makes rows look old."""


TABLE_OF: dict[TaskName, type[Leased]] = {
    TaskName.CONTOUR_JOB_RUN: ContourJob,
    TaskName.SHADOW_CONTOUR_RUN: ShadowContour,
    TaskName.RUN_TRAIN: Run,
    TaskName.DATASET_VERSION_INDEX: DatasetVersion,
    TaskName.EDITED_RTSTRUCT_COMPARE: EditedRtstruct,
    TaskName.MODEL_VERSION_CHECK: ModelVersion,
    TaskName.REPORT_WRITE: Report,
}
"""Whose rows a task works on."""


NO_LEASE: Json = {"lease_owner": None, "lease_until": None}

QUEUED_AGAIN: Json = {
    "state": JobState.QUEUED,
    "stage": JobStage.WAITING,
    "progress": 0.0,
    **NO_LEASE,
}
"""Columns of a row that waits for its next start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One start of the work on a row by one worker."""

    task: TaskName
    resource_id: UUID
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
    """What became of the rows whose worker fell silent."""

    requeued: tuple[UUID, ...]
    failed: tuple[UUID, ...]
    cancelled: tuple[UUID, ...]


class LeaseRepository:
    """Work on rows, whatever it is."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def claim(
        self, task: TaskName, resource_id: UUID, *, owner: str, seconds: float
    ) -> Claim | None:
        """Start a queued row under a new fencing token; None when there is nothing to start."""
        table = TABLE_OF[task]
        row = self._session.execute(
            sa.update(table)
            .where(table.id == resource_id, table.state == JobState.QUEUED)
            .values(
                state=JobState.RUNNING,
                stage=JobStage.READING,
                progress=0.0,
                attempt=table.attempt + 1,
                fencing_token=table.fencing_token + 1,
                lease_owner=owner,
                lease_until=self._now() + dt.timedelta(seconds=seconds),
                started_at=self._now(),
            )
            .returning(table.correlation_id, table.attempt, table.fencing_token)
        ).one_or_none()
        if row is None:
            return None
        return Claim(
            task=task,
            resource_id=resource_id,
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
            .returning(TABLE_OF[claim.task].cancel_requested)
        ).scalar_one_or_none()
        if cancel_requested is None:
            return LeaseAnswer.LOST
        return LeaseAnswer.CANCEL_REQUESTED if cancel_requested else LeaseAnswer.HELD

    def hold(self, claim: Claim) -> bool:
        """Lock the row for this transaction; False if the lease was lost.

        What is written beside the row in this transaction is then written by its holder alone.
        """
        table = TABLE_OF[claim.task]
        locked = self._update_of(claim).values(fencing_token=table.fencing_token)
        return self._session.execute(locked.returning(table.id)).first() is not None

    def succeed(self, claim: Claim, outcome: Json) -> bool:
        """End a row as SUCCEEDED with the columns of its outcome; False if the lease was lost.

        The row stays locked until the transaction ends: publish the result before the commit.
        """
        return self._end(claim, JobState.SUCCEEDED, progress=1.0, **outcome)

    def fail(self, claim: Claim, *, code: str, detail: str, context: Json) -> bool:
        """End a row as FAILED; False if the lease was lost."""
        return self._end(
            claim, JobState.FAILED, error_code=code, error_detail=detail, error_context=context
        )

    def give_back(self, claim: Claim) -> bool:
        """Queue a row again whose start met what may pass, such as a full disk.

        Its message counts as sent now, so that the next start comes after a pause.

        Returns:
            False if the lease was lost, or no attempt is left.
        """
        table = TABLE_OF[claim.task]
        statement = self._update_of(claim).where(table.attempt < table.max_attempts)
        given_back = self._session.execute(
            statement.values(**QUEUED_AGAIN, published_at=self._now()).returning(table.id)
        )
        return given_back.first() is not None

    def cancel(self, claim: Claim) -> bool:
        """End a row as CANCELLED; False if the lease was lost."""
        return self._end(claim, JobState.CANCELLED)

    def request_cancel(self, task: TaskName, *resource_ids: UUID) -> None:
        """Cancel queued rows at once; ask the workers of running ones to stop."""
        table = TABLE_OF[task]
        own = sa.update(table).where(table.id.in_(resource_ids))
        cancelled = self._session.scalars(
            own.where(table.state == JobState.QUEUED)
            .values(**self._ended(JobState.CANCELLED))
            .returning(table.id)
            .execution_options(synchronize_session=False)
        ).all()
        self._note_ended(task, JobState.CANCELLED, None, cancelled)
        self._session.execute(
            own.where(table.state == JobState.RUNNING)
            .values(cancel_requested=True)
            .execution_options(synchronize_session=False)
        )

    def reap(self, task: TaskName, *, longest_seconds: float = math.inf) -> Reaped:
        """Take rows from workers that fell silent: queued again, or ended where that is no use.

        A lease that ends later than any can was given before the clock was set back; its worker,
        if it lives, has extended it by the time that an honest one would have run out.

        Args:
            task: whose rows.
            longest_seconds: of a lease.
        """
        table = TABLE_OF[task]
        over = table.lease_until < self._now()
        if math.isfinite(longest_seconds):
            latest = self._now() + dt.timedelta(seconds=2 * longest_seconds)
            over = sa.or_(over, table.lease_until > latest)
        expired = sa.and_(table.state == JobState.RUNNING, over)
        cancelled = self._reap(
            table, sa.and_(expired, table.cancel_requested), **self._ended(JobState.CANCELLED)
        )
        failed = self._reap(
            table,
            sa.and_(expired, table.attempt >= table.max_attempts),
            error_code=JobErrorCode.WORKER_LOST,
            error_detail="every worker that started the work was lost",
            **self._ended(JobState.FAILED),
        )
        requeued = self._reap(
            table,
            expired,
            **QUEUED_AGAIN,
            published_at=None,
        )
        self._note_ended(task, JobState.CANCELLED, None, cancelled)
        self._note_ended(task, JobState.FAILED, JobErrorCode.WORKER_LOST, failed)
        return Reaped(requeued=requeued, failed=failed, cancelled=cancelled)

    def due_for_sending(self, task: TaskName, *, resend_seconds: float) -> list[UUID]:
        """List queued rows whose message was never sent, or so long ago that it may be lost."""
        table = TABLE_OF[task]
        queued = (
            sa.select(table.id, table.created_at, table.published_at)
            .where(table.state == JobState.QUEUED)
            .order_by(table.created_at, table.id)
        )
        unsent = self._session.execute(queued.where(table.published_at.is_(None)))
        oldest = self._session.execute(queued.limit(RESEND_WINDOW))
        stale = [row.id for row in oldest if self._is_stale(row, resend_seconds)]
        return [row.id for row in unsent] + stale

    def queue_positions(self, task: TaskName, rows: Sequence[Leased]) -> dict[UUID, int]:
        """Return, by id, how many queued rows come before each of these that is queued."""
        table = TABLE_OF[task]
        queued = [row.id for row in rows if row.state is JobState.QUEUED]
        if not queued:
            return {}
        in_turn = sa.func.row_number().over(order_by=(table.created_at, table.id))
        ranked = (
            sa.select(table.id, (in_turn - 1).label("position"))
            .where(table.state == JobState.QUEUED)
            .subquery()
        )
        found = self._session.execute(sa.select(ranked).where(ranked.c.id.in_(queued)))
        return {row.id: row.position for row in found}

    def mark_sent(self, task: TaskName, resource_ids: list[UUID]) -> None:
        """Note that the messages of these rows were handed to the broker now."""
        table = TABLE_OF[task]
        self._session.execute(
            sa.update(table)
            .where(table.id.in_(resource_ids), table.state == JobState.QUEUED)
            .values(published_at=self._now())
            .execution_options(synchronize_session=False)
        )

    def _is_stale(self, row: sa.Row[UUID, dt.datetime, dt.datetime | None], least: float) -> bool:
        if row.published_at is None:
            return False
        waited = (row.published_at - row.created_at).total_seconds()
        # Sent in the future: the clock was set back since, and who knows how long ago it was.
        silent = abs((self._now() - row.published_at).total_seconds())
        return silent > min(max(least, waited * RESEND_GROWTH), least * RESEND_MOST)

    def _update_of(self, claim: Claim) -> sa.Update:
        table = TABLE_OF[claim.task]
        return (
            sa.update(table)
            .where(
                table.id == claim.resource_id,
                table.state == JobState.RUNNING,
                table.fencing_token == claim.fencing_token,
            )
            .execution_options(synchronize_session=False)
        )

    def _end(self, claim: Claim, state: JobState, **values: object) -> bool:
        table = TABLE_OF[claim.task]
        statement = self._update_of(claim).values(**values, **self._ended(state))
        ended = self._session.execute(
            statement.returning(table.created_at, table.started_at)
        ).one_or_none()
        if ended is None:
            return False
        stages: Any = values.get("seconds")  # Any: the outcome's own column
        seconds = measured_seconds(ended, stages, self._now())
        code: Any = values.get("error_code")  # Any: likewise
        self._session.add(ended_work(claim.task, state, code, seconds=seconds))
        return True

    def _note_ended(
        self, task: TaskName, state: JobState, code: str | None, ended: Sequence[UUID]
    ) -> None:
        """Count rows that ended without a worker."""
        if ended:
            self._session.add(ended_work(task, state, code, count=len(ended)))

    def _ended(self, state: JobState) -> Json:
        return {
            "state": state,
            "stage": JobStage.DONE,
            "finished_at": self._now(),
            **NO_LEASE,
        }

    def _reap(
        self, table: type[Leased], lost: sa.ColumnElement[bool], **values: object
    ) -> tuple[UUID, ...]:
        cleared = NO_LEASE | values
        reaped = self._session.scalars(
            sa.update(table)
            .where(lost)
            .values(**cleared)
            .returning(table.id)
            .execution_options(synchronize_session=False)
        )
        return tuple(reaped)
