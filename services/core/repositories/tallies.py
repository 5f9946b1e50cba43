"""Every statement about tallies: what ended, how long it took, what housekeeping did.

Who ends work only adds a row; housekeeping folds those rows into the tallies. A tally therefore
never falls, and lags behind by a pass of housekeeping.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.lifecycle import JobStage, JobState
from services.core.queue import TaskName
from services.core.tables.tallies import EndedWork, StoredBytes, Tally, TallyKind

BUCKETS_SECONDS = (
    0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600,
)  # fmt: skip
"""Upper bounds, from a stage of a pass-through network to a training."""

LAST_BUCKET = "+Inf"

WAITED, TOTAL = "waiting", "total"
STAGES = frozenset({WAITED, TOTAL, *(stage.value for stage in JobStage)})
"""Stages that are measured; what a network calls its own steps is not among them."""

FOLD_BATCH = 500
"""Ends that one pass folds; the next pass takes the next ones."""


@dataclass(frozen=True, order=True, slots=True)
class TallyKey:
    """What is counted."""

    kind: TallyKind
    subject: str
    detail: str = ""
    reason: str = ""


@dataclass(slots=True)
class Amount:
    """How often, and the sum of what was measured."""

    count: int = 0
    seconds: float = 0.0


class TallyRepository:
    """Counts that outlive processes and rows."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def all(self) -> dict[TallyKey, Amount]:
        """Return every tally."""
        rows = self._session.scalars(sa.select(Tally).execution_options(populate_existing=True))
        return {
            TallyKey(row.kind, row.subject, row.detail, row.reason): Amount(row.count, row.seconds)
            for row in rows
        }

    def add(self, amounts: Mapping[TallyKey, Amount]) -> None:
        """Raise tallies, always in the same order: two workers that do cannot block each other."""
        insert = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[
            self._session.get_bind().dialect.name
        ]
        for key, amount in sorted(amounts.items(), key=lambda item: item[0]):
            added = insert(Tally).values(
                kind=key.kind,
                subject=key.subject,
                detail=key.detail,
                reason=key.reason,
                count=amount.count,
                seconds=amount.seconds,
            )
            self._session.execute(
                added.on_conflict_do_update(
                    index_elements=[Tally.kind, Tally.subject, Tally.detail, Tally.reason],
                    set_={
                        "count": Tally.count + added.excluded.count,
                        "seconds": Tally.seconds + added.excluded.seconds,
                    },
                )
            )

    def fold(self) -> int:
        """Move the ends of work into the tallies; return how many there were.

        What another worker folds at this moment is left to it.
        """
        ends = list(
            self._session.scalars(
                sa.select(EndedWork).limit(FOLD_BATCH).with_for_update(skip_locked=True)
            )
        )
        if ends:
            self.add(_amounts_of(ends))
            ids = [end.id for end in ends]
            self._session.execute(
                sa.delete(EndedWork)
                .where(EndedWork.id.in_(ids))
                .execution_options(synchronize_session=False)
            )
        return len(ends)

    def stored_bytes(self) -> dict[str, int]:
        """Return by kind what was last measured."""
        rows = self._session.execute(sa.select(StoredBytes.kind, StoredBytes.byte_count))
        return {row.kind: row.byte_count for row in rows}

    def note_stored_bytes(self, kind: str, byte_count: int) -> None:
        """Keep what was measured."""
        self._session.merge(StoredBytes(kind=kind, byte_count=byte_count, measured_at=self._now()))


def ended_work(
    task: TaskName,
    state: JobState,
    error_code: str | None = None,
    *,
    count: int = 1,
    seconds: Mapping[str, float] | None = None,
) -> EndedWork:
    """Describe ends of work, to be added to the transaction that ends it."""
    return EndedWork(
        task=task.value,
        state=state.value,
        error_code=error_code or "",
        count=count,
        seconds=dict(seconds or {}),
    )


def measured_seconds(
    row: sa.Row[dt.datetime, dt.datetime | None],
    stages: Mapping[str, float] | None,
    ended_at: dt.datetime,
) -> dict[str, float]:
    """Return how long a piece of work took by stage, from its row's moments and its own clock.

    The wait is that before the latest start, with earlier starts in it.
    """
    if row.started_at is None:
        return {}
    measured = {name: took for name, took in (stages or {}).items() if name in STAGES}
    measured[WAITED] = (row.started_at - row.created_at).total_seconds()
    measured[TOTAL] = (ended_at - row.started_at).total_seconds()
    return {name: max(took, 0.0) for name, took in measured.items()}


def bucket_of(seconds: float) -> str:
    """Name the narrowest bucket that a duration falls into."""
    return next((f"{bound:g}" for bound in BUCKETS_SECONDS if seconds <= bound), LAST_BUCKET)


def _amounts_of(ends: Iterable[EndedWork]) -> dict[TallyKey, Amount]:
    amounts: dict[TallyKey, Amount] = defaultdict(Amount)
    for end in ends:
        amounts[TallyKey(TallyKind.ENDED, end.task, end.state, end.error_code)].count += end.count
        for stage, took in end.seconds.items():
            bucket = amounts[TallyKey(TallyKind.SECONDS, end.task, stage, bucket_of(took))]
            bucket.count += 1
            bucket.seconds += took
    return amounts
