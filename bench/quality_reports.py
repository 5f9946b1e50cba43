"""How long the reports on 200,000 grades take, on SQLite and on PostgreSQL.

python bench/quality_reports.py                                  # SQLite in a folder of its own
python bench/quality_reports.py postgresql+psycopg://user@host/empty_database
"""

import datetime as dt
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import sqlalchemy as sa

from ml.grading import Grade
from ml.structures import CERVIX
from services.api.quality.service import QualityService
from services.api.reviews.service import SliceGrade
from services.core.database import create_database_engine, create_sessions
from services.core.migrations import upgrade_database
from services.core.queue import Message, TaskName
from services.core.repositories.acceptability import GroupKey, ReviewFilter
from services.core.repositories.drift import DriftBy
from services.core.repositories.edited_rtstructs import NewEdit
from services.core.repositories.reviews import NewReview
from services.core.tables.contouring import Series
from services.core.unit_of_work import UnitOfWork

JOBS, SLICES = 250, 100
READERS = ("anna", "bert")
REPEATS = 15
GRADES = JOBS * SLICES * len(READERS) * len(CERVIX.names)
SHARES = (0.75, 0.12, 0.07, 0.06)
"""Of the four grades, about as in the paper."""


class NoQueue:
    """A queue that forgets."""

    def send(self, message: Message) -> None:
        """Forget a message."""

    def check(self) -> None:
        """Return."""


def main() -> None:
    """Fill a database, ask for every report several times and print the medians."""
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{Path(folder) / 'bench.sqlite'}"
        engine = create_database_engine(url)
        upgrade_database(engine)
        sessions = create_sessions(engine)
        now = [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)]
        new = lambda: UnitOfWork(sessions, NoQueue(), lambda: now[0])  # noqa: E731
        started = time.perf_counter()
        slowest = fill(new, now)
        took = time.perf_counter() - started
        if engine.dialect.name == "postgresql":
            with engine.begin() as connection:
                # what autovacuum does by itself, if not within seconds of a bulk load
                connection.execute(sa.text("ANALYZE"))
        print(f"{engine.dialect.name}: {GRADES:,} grades in {JOBS * len(READERS)} reviews")
        print(f"{'filled in':>44} {took:8.1f} s; slowest review {slowest * 1000:.0f} ms")
        for name, ask in reports(QualityService(new)).items():
            wall, own = measure(ask)
            print(f"{name:>44} {wall:8.1f} ms, of which {own:.1f} ms of this process's CPU time")
        engine.dispose()


def fill(new: Callable[[], UnitOfWork], now: list[dt.datetime]) -> float:
    """Add jobs with reviews and edits over months; return the seconds of the slowest review."""
    drawn = np.random.default_rng(1)
    slowest = 0.0
    for number in range(JOBS):
        now[0] += dt.timedelta(days=1)
        uow = new()
        job_id = add_job(uow, f"v{number % 3}")
        for reviewer in READERS:
            grades = [
                SliceGrade(structure=name, slice_number=place, grade=str(grade), tags=())
                for name in CERVIX.names
                for place, grade in enumerate(drawn.choice(list(Grade), SLICES, p=SHARES), 1)
            ]
            review = NewReview(job_id=job_id, reviewer=reviewer, minutes=5.0, comment=None)
            started = time.perf_counter()
            with uow:
                uow.contour_jobs.get_locked(job_id)
                uow.reviews.add(review, grades)
                uow.commit()
            slowest = max(slowest, time.perf_counter() - started)
    return slowest


def add_job(uow: UnitOfWork, version: str) -> UUID:
    """Add a contoured job and an edit of it."""
    series = Series(
        content_sha256=uuid4().hex * 2,
        series_instance_uid="2.25.1",
        study_instance_uid="2.25.2",
        frame_of_reference_uid="2.25.3",
        slice_count=SLICES,
        rows=512,
        columns=512,
        spacing_mm=[3.0, 1.0, 1.0],
        extent_mm=[300.0, 512.0, 512.0],
        byte_count=1,
    )
    score = {"dice": 0.9, "added_path_length_mm": 100.0, "relative_added_path": 0.1}
    scores = {"structures": dict.fromkeys(CERVIX.names, score), "warnings": []}
    with uow:
        kept, _ = uow.series.get_or_create(series)
        job = uow.contour_jobs.add(kept.id, correlation_id="bench", max_attempts=1)
        end(uow, TaskName.CONTOUR_JOB_RUN, job.id, model_version=version, warnings=[])
        edit = NewEdit(
            job_id=job.id,
            review_id=None,
            reviewer=READERS[0],
            content_sha256=uuid4().hex * 2,
            byte_count=1,
        )
        added = uow.edited_rtstructs.add(edit, correlation_id="bench", max_attempts=1)
        end(uow, TaskName.EDITED_RTSTRUCT_COMPARE, added.row.id, scores=scores)
        uow.commit()
    return job.id


def end(uow: UnitOfWork, task: TaskName, resource_id: UUID, **outcome: object) -> None:
    """Do to a row what a worker does."""
    claim = uow.leases.claim(task, resource_id, owner="bench", seconds=60)
    assert claim is not None
    uow.leases.succeed(claim, outcome)


def reports(service: QualityService) -> dict[str, Callable[[], object]]:
    """Return every report by what it is called in the table."""
    everything = ReviewFilter()
    groups = [[], [GroupKey.STRUCTURE], [GroupKey.MODEL_VERSION, GroupKey.MONTH]]
    asked: dict[str, Callable[[], object]] = {
        f"acceptability by {' and '.join(group) or 'nothing'}": (
            lambda group=group: service.acceptability(everything, group)
        )
        for group in groups
    }
    return asked | {f"drift by {by}": (lambda by=by: service.drift(by)) for by in DriftBy}


def measure(ask: Callable[[], object]) -> tuple[float, float]:
    """Return the median milliseconds of asking, on the clock and of this process alone."""
    wall, own = [], []
    for _ in range(REPEATS):
        started, used = time.perf_counter(), time.process_time()
        ask()
        wall.append(1000 * (time.perf_counter() - started))
        own.append(1000 * (time.process_time() - used))
    return statistics.median(wall), statistics.median(own)


if __name__ == "__main__":
    main()
