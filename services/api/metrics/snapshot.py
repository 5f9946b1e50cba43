"""What the rest of the service looks like at a moment, read for one scrape or a few."""

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.api.probes import Check, Probe, ask_all
from services.core.database import utc_now
from services.core.lifecycle import AliasName
from services.core.queue import QueueName
from services.core.repositories.backlog import Backlog
from services.core.repositories.model_versions import ServedVersion
from services.core.repositories.tallies import Amount, TallyKey
from services.core.storage_facts import Room, StorageFacts
from services.core.tables.operations import WorkerHeartbeat
from services.core.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """What the database says."""

    backlog: Sequence[Backlog]
    training_progress_age: float
    tallies: Mapping[TallyKey, Amount]
    stored_bytes: Mapping[str, int]
    workers: Sequence[WorkerHeartbeat]
    production: ServedVersion | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What the storage says."""

    room: Room | None
    last_backup_timestamp: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Everything that is not of the process itself; None where there was no answer."""

    taken_at: dt.datetime
    worker_silent_seconds: float
    checks: Mapping[str, Check]
    rows: Rows | None
    stored: Stored | None

    @property
    def present(self) -> list[WorkerHeartbeat]:
        """The workers that reported themselves lately."""
        since = self.taken_at - dt.timedelta(seconds=self.worker_silent_seconds)
        return [w for w in (self.rows.workers if self.rows else ()) if w.seen_at >= since]

    @property
    def is_ready(self) -> bool:
        """Tell what /health/ready would: whether a job posted now would be contoured."""
        contouring = [w for w in self.present if w.queue is QueueName.INFERENCE]
        return all(check.is_ok for check in self.checks.values()) and any(
            worker.weights_loaded for worker in contouring
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """What is read for scrapes: once in some seconds, and never longer than others wait for it."""

    rows: Probe[Rows]
    stored: Probe[Stored]
    components: Mapping[str, Probe[None]]
    """Everything else that /health/ready looks at, by name."""
    worker_silent_seconds: float

    async def take_snapshot(self) -> Snapshot:
        """Ask database, broker and storage at the same time; one that is away costs seconds."""
        rows, stored, others = await asyncio.gather(
            self.rows.ask(), self.stored.ask(), ask_all(self.components)
        )
        return Snapshot(
            taken_at=utc_now(),
            worker_silent_seconds=self.worker_silent_seconds,
            checks={"database": rows.check} | others,
            rows=rows.seen,
            stored=stored.seen,
        )


def read_rows(unit_of_work: UnitOfWork) -> Rows:
    """Read every figure that is in rows."""
    with unit_of_work as uow:
        return Rows(
            backlog=uow.backlog.all(),
            training_progress_age=uow.backlog.training_progress_age(),
            tallies=uow.tallies.all(),
            stored_bytes=uow.tallies.stored_bytes(),
            workers=uow.workers.all(),
            production=uow.model_aliases.served(AliasName.PRODUCTION),
        )


def read_storage(facts: StorageFacts) -> Stored:
    """Read what the filesystem and the stamp of the last backup say."""
    try:
        room = facts.room()
    except OSError:
        room = None  # the check of the storage says that it is away
    return Stored(room=room, last_backup_timestamp=facts.last_backup_timestamp())
