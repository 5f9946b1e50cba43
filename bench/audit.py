"""What the audit trail costs: a transaction with an entry and without, and verifying many.

A transaction adds the row of a series, as POST /v1/series does. On SQLite, or on the PostgreSQL of
--database-url (a database of its own: tables are made in it and rows are left).

    python bench/audit.py
    python bench/audit.py --database-url postgresql+psycopg://user@127.0.0.1/empty
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from services.core.audit import Action, ResourceKind
from services.core.audit_chain import read_export, verify_chain
from services.core.database import create_database_engine, create_sessions
from services.core.migrations import upgrade_database
from services.core.repositories.audit import stream_slices
from services.core.tables.leased import Json
from services.core.unit_of_work import UnitOfWork

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.factories.rows import make_series
from tests.fakes import FakeJobQueue

TRANSACTIONS = 1000
"""Of each kind, in turns, so that both see the same machine."""
THREADS = 8
ENTRIES = 100_000
BATCH = 1000
"""Entries of one transaction while the chain is filled."""

NewUnitOfWork = Callable[[], UnitOfWork]


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database-url")
    parser.add_argument("--entries", type=int, default=ENTRIES)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.database_url or f"sqlite:///{folder}/bench.sqlite"
        with migrated(url) as new:
            print(f"{sa.make_url(url).get_backend_name()}, {TRANSACTIONS} transactions of a kind")
            measure_commits(new)
            measure_threads(new)
            measure_verification(new, arguments.entries, Path(folder) / "export.jsonl")


@contextmanager
def migrated(url: str) -> Iterator[NewUnitOfWork]:
    """Give a maker of transactions on a database with tables."""
    engine = create_database_engine(url)
    upgrade_database(engine)
    sessions = create_sessions(engine)
    yield lambda: UnitOfWork(sessions, FakeJobQueue())
    engine.dispose()


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something took, and how much of it was this process's own work."""
    started, worked = time.perf_counter(), time.process_time()
    yield
    print(
        f"  {what}: {time.perf_counter() - started:.1f} s,"
        f" of them {time.process_time() - worked:.1f} s in this process"
    )


def transact(uow: UnitOfWork, entries: int) -> float:
    """Return the milliseconds of one transaction with a series and so many entries."""
    started = time.perf_counter()
    with uow:
        series, _ = uow.series.get_or_create(make_series())
        for _ in range(entries):
            uow.audit.record(
                Action.SERIES_SUBMITTED, ResourceKind.SERIES, series.id, is_new=True, slices=150
            )
        uow.commit()
    return (time.perf_counter() - started) * 1000


def measure_commits(new: NewUnitOfWork) -> None:
    """Print what an entry adds to a transaction."""
    uow = new()
    taken: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(TRANSACTIONS):
        for entries, times in taken.items():
            times.append(transact(uow, entries))
    for entries, times in taken.items():
        p95 = statistics.quantiles(times, n=20)[-1]
        median = statistics.median(times)
        print(f"  {entries} entries: median {median:.2f} ms, 95 % below {p95:.2f} ms")


def measure_threads(new: NewUnitOfWork) -> None:
    """Print how many transactions a second eight threads make, with an entry each and without."""
    rounds = TRANSACTIONS // THREADS
    for entries in (0, 1):
        started = time.perf_counter()
        with ThreadPoolExecutor(THREADS) as pool:
            work = [pool.submit(transact_often, new(), rounds, entries) for _ in range(THREADS)]
        for one in work:
            one.result()
        rate = rounds * THREADS / (time.perf_counter() - started)
        print(f"  {THREADS} threads, {entries} entries: {rate:.0f} transactions/s")


def transact_often(uow: UnitOfWork, times: int, entries: int) -> None:
    """Make transactions one after the other."""
    for _ in range(times):
        transact(uow, entries)


def measure_verification(new: NewUnitOfWork, entries: int, export: Path) -> None:
    """Print how long the database, and a file, of so many entries take to verify."""
    uow = new()
    with uow:
        have = uow.audit.head().sequence
    for first in range(have, entries, BATCH):
        with uow:
            for _ in range(min(BATCH, entries - first)):
                uow.audit.record(Action.RTSTRUCT_READ, ResourceKind.CONTOUR_JOB, "0" * 36)
            uow.commit()
    with uow:
        head = uow.audit.head()

    def read(first: int, last: int) -> list[Json]:
        with uow:
            return uow.audit.slice(first, last)

    with timed(f"database, {head.sequence} entries, verified"):
        assert verify_chain(stream_slices(read, 1, head.sequence), expected=[head]).is_whole
    with timed("written to a file"), export.open("w") as file:
        for entry in stream_slices(read, 1, head.sequence):
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    with timed(f"file of {export.stat().st_size >> 20} MB verified"), export.open("rb") as file:
        assert verify_chain(read_export(file), expected=[head]).is_whole
    tracemalloc.start()
    with export.open("rb") as file:
        verify_chain(read_export(file))
    print(f"  memory of the verification: {tracemalloc.get_traced_memory()[1] >> 10} KB")


if __name__ == "__main__":
    main()
