"""Every statement about the workers' reports of themselves."""

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.queue import QueueName
from services.core.tables.operations import WorkerHeartbeat


class WorkerRepository:
    """Workers as they last reported themselves."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def report(self, heartbeat: WorkerHeartbeat) -> None:
        """Note that a worker is there; seen_at is set here."""
        heartbeat.seen_at = self._now()
        self._session.merge(heartbeat)

    def seen_within(self, seconds: float, queue: QueueName | None = None) -> list[WorkerHeartbeat]:
        """List the workers that reported themselves so lately."""
        lately = dt.timedelta(seconds=seconds)
        query = sa.select(WorkerHeartbeat).where(
            WorkerHeartbeat.seen_at >= self._now() - lately,
            # later than that: seen before the clock was set back
            WorkerHeartbeat.seen_at <= self._now() + lately,
        )
        if queue is not None:
            query = query.where(WorkerHeartbeat.queue == queue)
        return list(self._session.scalars(query.order_by(WorkerHeartbeat.name)))

    def all(self) -> list[WorkerHeartbeat]:
        """List every worker that has not signed off and is not forgotten."""
        query = sa.select(WorkerHeartbeat).order_by(WorkerHeartbeat.name)
        return list(self._session.scalars(query.execution_options(populate_existing=True)))

    def sign_off(self, name: str) -> None:
        """Remove a worker that stops."""
        self._session.execute(sa.delete(WorkerHeartbeat).where(WorkerHeartbeat.name == name))

    def forget(self, before: dt.datetime) -> None:
        """Remove workers last seen before a moment."""
        self._session.execute(sa.delete(WorkerHeartbeat).where(WorkerHeartbeat.seen_at < before))
