"""Entries are numbered without a gap, chained, and written with the commit or not at all."""

import datetime as dt
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from services.core.actor import Actor, ActorKind, Role
from services.core.audit import Action, ResourceKind
from services.core.audit_chain import EMPTY_CHAIN, verify_chain
from services.core.database import create_sessions
from services.core.repositories.audit import AuditFilter, stream_slices
from services.core.tables.leased import Json
from services.core.unit_of_work import UnitOfWork
from tests.fakes import Clock, FakeJobQueue

ACTOR = Actor(
    kind=ActorKind.API_KEY,
    id="key:1",
    name="Linac 2, Zoë's",
    role=Role.SUBMITTER,
    address="10.0.0.1",
    correlation_id="request-1",
)


@pytest.fixture
def acting(engine: sa.Engine, clock: Clock) -> UnitOfWork:
    return UnitOfWork(create_sessions(engine), FakeJobQueue(), clock, actor=ACTOR)


def record(uow: UnitOfWork, *ids: str, action: Action = Action.SERIES_SUBMITTED) -> None:
    with uow:
        for one in ids:
            uow.audit.record(action, ResourceKind.SERIES, one, slices=3)
        uow.commit()


def entries_of(uow: UnitOfWork) -> list[Json]:
    def read(first: int, last: int) -> list[Json]:
        with uow:
            return uow.audit.slice(first, last)

    with uow:
        last = uow.audit.head().sequence
    return list(stream_slices(read, 1, last))


class TestRecording:
    def test_an_entry_says_who_did_what_from_where(self, acting: UnitOfWork) -> None:
        record(acting, "s-1")

        (entry,) = entries_of(acting)
        assert {key: entry[key] for key in entry if "sha256" not in key} == {
            "sequence": 1,
            "at": "2026-01-01T12:00:00.000000Z",
            "actor_kind": "api_key",
            "actor_id": "key:1",
            "actor_name": "Linac 2, Zoë's",
            "role": "submitter",
            "address": "10.0.0.1",
            "correlation_id": "request-1",
            "action": "series_submitted",
            "resource_kind": "series",
            "resource_id": "s-1",
            "facts": {"slices": 3},
        }

    def test_entries_are_a_chain_up_to_the_head(self, acting: UnitOfWork, uow: UnitOfWork) -> None:
        with uow:
            assert uow.audit.head() == EMPTY_CHAIN
        record(acting, "s-1", "s-2")
        record(uow, "s-3")

        with uow:
            head = uow.audit.head()
        verdict = verify_chain(entries_of(uow), expected=[head])
        assert verdict.is_whole
        assert verdict.head == head
        assert [entry["actor_id"] for entry in entries_of(uow)] == ["key:1", "key:1", "system"]

    def test_what_is_rolled_back_leaves_no_entry_and_no_gap(self, acting: UnitOfWork) -> None:
        with acting:
            acting.audit.record(Action.SERIES_DELETED, ResourceKind.SERIES, "s-1")
        record(acting, "s-2")

        assert [(e["sequence"], e["resource_id"]) for e in entries_of(acting)] == [(1, "s-2")]

    def test_a_second_commit_of_a_transaction_writes_nothing_again(
        self, acting: UnitOfWork
    ) -> None:
        with acting:
            acting.audit.record(Action.SERIES_DELETED, ResourceKind.SERIES, "s-1")
            acting.commit()
            acting.commit()

        assert len(entries_of(acting)) == 1

    def test_what_could_name_a_patient_is_refused_at_once(self, acting: UnitOfWork) -> None:
        with acting, pytest.raises(ValueError, match="the fact label"):
            acting.audit.record(Action.SERIES_DELETED, ResourceKind.SERIES, "s", label="DOE^JANE")


class TestReading:
    def test_pages_are_newest_first_from_before_a_sequence(self, acting: UnitOfWork) -> None:
        record(acting, *"abcde")

        with acting:
            first = acting.audit.page(AuditFilter(), 2)
            second = acting.audit.page(AuditFilter(), 9, before=first[-1].sequence)
        assert [row.resource_id for row in first] == ["e", "d"]
        assert [row.resource_id for row in second] == ["c", "b", "a"]

    def test_filters(
        self, acting: UnitOfWork, unit_of_work: Callable[[], UnitOfWork], clock: Clock
    ) -> None:
        record(acting, "a", "b")
        clock.advance(hours=1)
        record(unit_of_work(), "a", action=Action.SERIES_DELETED)
        hour = clock() - dt.timedelta(minutes=30)
        filters = {
            (1, 2): AuditFilter(actor_id="key:1"),
            (3,): AuditFilter(action=Action.SERIES_DELETED),
            (1, 3): AuditFilter(resource_id="a", resource_kind=ResourceKind.SERIES),
            (): AuditFilter(resource_kind=ResourceKind.RUN),
            (2, 1): AuditFilter(until=hour),
        }
        with acting:
            for expected, wanted in filters.items():
                found = [row.sequence for row in acting.audit.page(wanted, 9)]
                assert sorted(found) == sorted(expected)
            assert [row.sequence for row in acting.audit.page(AuditFilter(since=hour), 9)] == [3]

    def test_slices_end_where_the_chain_does(self, acting: UnitOfWork) -> None:
        record(acting, *(f"s-{n}" for n in range(7)))

        pieces = [[{"sequence": n} for n in piece] for piece in ((1, 2), (3,), ())]
        assert [e["sequence"] for e in stream_slices(lambda *_: pieces.pop(0), 1, 9)] == [1, 2, 3]
        with acting:
            assert [entry["sequence"] for entry in acting.audit.slice(3, 5)] == [3, 4, 5]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor_id = 'x'",
        "DELETE FROM audit_entry",
        "DELETE FROM audit_head",
        "UPDATE audit_head SET sequence = 1",
    ],
)
def test_the_database_refuses_to_change_what_is_written(
    acting: UnitOfWork, engine: sa.Engine, statement: str
) -> None:
    record(acting, "s-1", "s-2")

    with engine.begin() as connection, pytest.raises(IntegrityError, match="append-only"):
        connection.execute(sa.text(statement))
