"""One chain, however many write it at once; and no way to change it, on either database."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from services.core.audit import Action, ResourceKind
from services.core.audit_chain import verify_chain
from services.core.database import create_sessions
from services.core.migrations import upgrade_database
from services.core.repositories.audit import stream_slices
from services.core.unit_of_work import UnitOfWork
from tests.factories.engines import create_patient_engine
from tests.factories.rows import make_series
from tests.fakes import FakeJobQueue

THREADS = 8
ACTS = 40
"""Transactions of each thread, with one to three entries each; every fifth is rolled back."""


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = create_patient_engine(database_url)
    upgrade_database(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def unit_of_work(engine: sa.Engine) -> Callable[[], UnitOfWork]:
    sessions = create_sessions(engine)
    return lambda: UnitOfWork(sessions, FakeJobQueue())


def record(uow: UnitOfWork, thread: int) -> int:
    """Record beside other rows, as routes do; return how many entries were committed."""
    written = 0
    for act in range(ACTS):
        with uow:
            series, _ = uow.series.get_or_create(make_series())
            for number in range(act % 3 + 1):
                uow.audit.record(
                    Action.SERIES_SUBMITTED, ResourceKind.SERIES, series.id, n=number, thread=thread
                )
            if act % 5:
                uow.commit()
                written += act % 3 + 1
    return written


def test_threads_that_record_at_once_leave_no_gap_and_no_fork(
    unit_of_work: Callable[[], UnitOfWork],
) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        written = sum(pool.map(lambda thread: record(unit_of_work(), thread), range(THREADS)))

    def read(first: int, last: int) -> list[dict[str, Any]]:
        with unit_of_work() as uow:
            return uow.audit.slice(first, last)

    with unit_of_work() as uow:
        head = uow.audit.head()
    assert head.sequence == written
    entries = list(stream_slices(read, 1, head.sequence))
    verdict = verify_chain(entries, expected=[head])
    assert verdict.is_whole, verdict
    assert (verdict.first_sequence, verdict.head) == (1, head)
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor_id = 'x' WHERE sequence = 1",
        "DELETE FROM audit_entry WHERE sequence = 1",
        "TRUNCATE audit_entry",
        "DELETE FROM audit_head",
        "TRUNCATE audit_head",
        "UPDATE audit_head SET sequence = 0",
    ],
)
def test_the_database_refuses_every_other_change(
    unit_of_work: Callable[[], UnitOfWork], engine: sa.Engine, statement: str
) -> None:
    with unit_of_work() as uow:
        uow.audit.record(Action.SERIES_DELETED, ResourceKind.SERIES, "s-1")
        uow.commit()

    # SQLite knows no TRUNCATE
    with engine.begin() as connection, pytest.raises(DBAPIError, match=r"append-only|syntax error"):
        connection.execute(sa.text(statement))
