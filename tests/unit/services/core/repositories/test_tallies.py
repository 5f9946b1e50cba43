"""Counts that outlive rows: ends are noted with the work and folded once."""

import datetime as dt
from collections.abc import Callable

import pytest

from services.core.lifecycle import JobErrorCode
from services.core.queue import TaskName
from services.core.repositories.leases import Claim
from services.core.repositories.tallies import Amount, TallyKey, bucket_of
from services.core.tables.tallies import TallyKind
from services.core.unit_of_work import UnitOfWork
from tests.factories.rows import add_job
from tests.fakes import Clock

TASK = TaskName.CONTOUR_JOB_RUN


def start(uow: UnitOfWork) -> Claim:
    job = add_job(uow)
    with uow:
        claim = uow.leases.claim(TASK, job.id, owner="worker", seconds=60)
        uow.commit()
    assert claim is not None
    return claim


def folded(uow: UnitOfWork) -> dict[TallyKey, Amount]:
    with uow:
        uow.tallies.fold()
        uow.commit()
    with uow:
        return uow.tallies.all()


def ended(state: str, code: str = "") -> TallyKey:
    return TallyKey(TallyKind.ENDED, TASK, state, code)


def seconds(stage: str, bucket: str) -> TallyKey:
    return TallyKey(TallyKind.SECONDS, TASK, stage, bucket)


class TestEnds:
    def test_success_is_counted_with_its_stages(self, uow: UnitOfWork, clock: Clock) -> None:
        claim = start(uow)
        clock.advance(seconds=20)
        with uow:
            took = {"reading": 2.5, "contouring_network": 9.0, "total": 1.0}
            assert uow.leases.succeed(claim, {"seconds": took})
            uow.commit()

        assert folded(uow) == {
            ended("succeeded"): Amount(1),
            seconds("reading", "3"): Amount(1, 2.5),
            seconds("waiting", "0.1"): Amount(1, 0.0),
            seconds("total", "30"): Amount(1, 20.0),
        }

    def test_failure_is_counted_by_its_code(self, uow: UnitOfWork) -> None:
        claim = start(uow)
        with uow:
            assert uow.leases.fail(claim, code="time_limit", detail="", context={})
            uow.commit()

        assert folded(uow)[ended("failed", "time_limit")] == Amount(1)

    def test_a_lost_lease_counts_nothing(self, uow: UnitOfWork, clock: Clock) -> None:
        claim = start(uow)
        clock.advance(seconds=61)
        with uow:
            uow.leases.reap(TASK)
            uow.commit()
        with uow:
            assert not uow.leases.succeed(claim, {})
            uow.commit()

        assert folded(uow) == {}

    def test_what_is_rolled_back_was_not(self, uow: UnitOfWork) -> None:
        claim = start(uow)
        with uow:
            assert uow.leases.succeed(claim, {})

        assert folded(uow) == {}

    def test_jobs_without_a_worker_are_counted_too(self, uow: UnitOfWork, clock: Clock) -> None:
        waiting = [add_job(uow), add_job(uow)]
        with uow:
            uow.leases.request_cancel(TASK, *(job.id for job in waiting))
            uow.commit()
        lost = add_job(uow, max_attempts=1)
        with uow:
            uow.leases.claim(TASK, lost.id, owner="worker", seconds=60)
            uow.commit()
        clock.advance(seconds=61)
        with uow:
            uow.leases.reap(TASK)
            uow.commit()

        assert folded(uow) == {
            ended("cancelled"): Amount(2),
            ended("failed", JobErrorCode.WORKER_LOST): Amount(1),
        }


class TestFolding:
    def test_each_end_is_folded_once(self, uow: UnitOfWork) -> None:
        for _ in range(2):
            claim = start(uow)
            with uow:
                uow.leases.cancel(claim)
                uow.commit()
            folded(uow)

        assert folded(uow)[ended("cancelled")] == Amount(2)

    def test_a_fold_that_is_rolled_back_is_done_again(self, uow: UnitOfWork) -> None:
        claim = start(uow)
        with uow:
            uow.leases.cancel(claim)
            uow.commit()
        with uow:
            assert uow.tallies.fold() == 1

        assert folded(uow)[ended("cancelled")] == Amount(1)

    def test_tallies_stay_when_rows_go(
        self, uow: UnitOfWork, unit_of_work: Callable[[], UnitOfWork]
    ) -> None:
        with uow:
            uow.tallies.add({TallyKey(TallyKind.ORPHANS, "series"): Amount(3)})
            uow.commit()
        with unit_of_work() as other:
            other.tallies.add({TallyKey(TallyKind.ORPHANS, "series"): Amount(2)})
            other.commit()

        assert folded(uow) == {TallyKey(TallyKind.ORPHANS, "series"): Amount(5)}


class TestBuckets:
    @pytest.mark.parametrize(
        ("took", "bucket"),
        [(0.0, "0.1"), (0.1, "0.1"), (0.11, "0.3"), (86400, "86400"), (1e6, "+Inf")],
    )
    def test_a_duration_falls_into_the_narrowest(self, took: float, bucket: str) -> None:
        assert bucket_of(took) == bucket


class TestBacklog:
    def test_rows_are_counted_by_state_with_the_age_of_the_oldest(
        self, uow: UnitOfWork, clock: Clock
    ) -> None:
        start(uow)
        clock.advance(seconds=30)
        add_job(uow)
        add_job(uow)
        clock.advance(seconds=10)

        with uow:
            found = {b.state.value: b for b in uow.backlog.all()}

        assert (found["queued"].count, found["queued"].oldest_seconds) == (2, 10)
        assert (found["running"].count, found["running"].oldest_seconds) == (1, 40)

    def test_no_training_has_no_age(self, uow: UnitOfWork) -> None:
        with uow:
            assert uow.backlog.training_progress_age() == 0.0

    def test_moments_are_aware_on_either_database(self, uow: UnitOfWork, clock: Clock) -> None:
        add_job(uow)
        with uow:
            (backlog,) = uow.backlog.all()
        assert clock().tzinfo is dt.UTC
        assert backlog.oldest_seconds == 0
