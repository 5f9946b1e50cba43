"""Every statement about how much work waits and runs, for monitoring: counts and ages alone."""

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.lifecycle import ACTIVE_STATES, JobState
from services.core.queue import TaskName
from services.core.repositories.leases import TABLE_OF
from services.core.tables.experiments import Run, RunEpoch


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """The rows of one task in one state that is not the last."""

    task: TaskName
    state: JobState
    count: int
    oldest_seconds: float
    """Since the oldest was made, or since the one that runs longest was started."""


class BacklogRepository:
    """Work that is not over."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def all(self) -> list[Backlog]:
        """Count what waits and what runs, task by task.

        One statement, answered from the index over state: finished rows are not looked at.
        """
        now = self._now()
        rows = self._session.execute(sa.union_all(*(_active_of(task) for task in TaskName)))
        return [
            Backlog(
                task=TaskName(row.task),
                state=JobState(row.state),
                count=row.number,
                oldest_seconds=_age(row.started if row.state == "running" else row.created, now),
            )
            for row in rows
        ]

    def training_progress_age(self) -> float:
        """Return for how long the running training that is slowest to report has finished no epoch.

        Its heartbeat says that its process lives, not that it learns. 0 when none runs.
        """
        latest = (
            sa.select(sa.func.max(RunEpoch.recorded_at))
            .where(RunEpoch.run_id == Run.id, RunEpoch.recorded_at >= Run.started_at)
            .scalar_subquery()
        )
        since = sa.func.coalesce(latest, Run.started_at)
        oldest = self._session.scalar(
            sa.select(sa.type_coerce(sa.func.min(since), Run.started_at.type)).where(
                Run.state == JobState.RUNNING
            )
        )
        return 0.0 if oldest is None else _age(oldest, self._now())


def _active_of(task: TaskName) -> sa.Select[str, str, int, dt.datetime, dt.datetime | None]:
    table = TABLE_OF[task]
    return (
        sa.select(
            sa.literal(task.value).label("task"),
            sa.type_coerce(table.state, sa.String()).label("state"),
            sa.func.count().label("number"),
            sa.func.min(table.created_at).label("created"),
            sa.func.min(table.started_at).label("started"),
        )
        .where(table.state.in_(ACTIVE_STATES))
        .group_by(table.state)
    )


def _age(moment: dt.datetime | None, now: dt.datetime) -> float:
    return 0.0 if moment is None else max((now - moment).total_seconds(), 0.0)
