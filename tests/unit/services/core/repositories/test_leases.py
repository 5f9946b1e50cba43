from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from services.core.lifecycle import JobErrorCode, JobStage, JobState
from services.core.queue import TaskName
from services.core.repositories.leases import RESEND_MOST, RESEND_WINDOW, Claim, LeaseAnswer
from services.core.unit_of_work import UnitOfWork
from tests.factories.rows import add_job, job_of
from tests.fakes import Clock

TASK = TaskName.CONTOUR_JOB_RUN


def claim_job(uow: UnitOfWork, job_id: UUID) -> Claim | None:
    with uow:
        claim = uow.leases.claim(TASK, job_id, owner="worker-1", seconds=60)
        uow.commit()
    return claim


def start(uow: UnitOfWork, job_id: UUID) -> Claim:
    claim = claim_job(uow, job_id)
    assert claim is not None
    return claim


def reap(uow: UnitOfWork):
    with uow:
        reaped = uow.leases.reap(TASK)
        uow.commit()
    return reaped


def beat(uow: UnitOfWork, claim: Claim) -> LeaseAnswer:
    with uow:
        answer = uow.leases.beat(claim, seconds=60, stage=JobStage.CONTOURING, progress=0.5)
        uow.commit()
    return answer


class TestClaim:
    def test_a_queued_job_is_started(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow)

        claim = start(uow, job.id)

        assert claim.resource_id == job.id
        assert claim.correlation_id == "request-1"
        assert (claim.attempt, claim.fencing_token) == (1, 1)
        found = job_of(uow, job.id)
        assert found.state is JobState.RUNNING
        assert found.started_at == clock()

    def test_a_second_message_finds_nothing_to_do(self, uow: UnitOfWork) -> None:
        job = add_job(uow)
        start(uow, job.id)

        assert claim_job(uow, job.id) is None

    def test_an_unknown_job_is_nothing_to_do(self, uow: UnitOfWork) -> None:
        assert claim_job(uow, uuid4()) is None

    def test_one_of_many_workers_gets_the_job(
        self, uow: UnitOfWork, unit_of_work: Callable[[], UnitOfWork]
    ) -> None:
        job = add_job(uow)

        with ThreadPoolExecutor(4) as pool:
            claims = list(pool.map(lambda _: claim_job(unit_of_work(), job.id), range(8)))

        assert len([claim for claim in claims if claim is not None]) == 1
        assert job_of(uow, job.id).attempt == 1


class TestBeat:
    def test_progress_is_noted_and_the_lease_extended(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow)
        claim = start(uow, job.id)
        clock.advance(seconds=50)

        assert beat(uow, claim) is LeaseAnswer.HELD

        clock.advance(seconds=50)
        assert reap(uow).requeued == ()
        found = job_of(uow, job.id)
        assert (found.stage, found.progress) == (JobStage.CONTOURING, 0.5)

    def test_a_cancel_is_heard(self, uow: UnitOfWork) -> None:
        job = add_job(uow)
        claim = start(uow, job.id)
        with uow:
            uow.contour_jobs.request_cancel(job.id)
            uow.commit()

        assert beat(uow, claim) is LeaseAnswer.CANCEL_REQUESTED

    def test_a_worker_past_its_lease_learns_it(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow)
        stale = start(uow, job.id)
        clock.advance(seconds=61)
        reap(uow)

        assert beat(uow, stale) is LeaseAnswer.LOST

        start(uow, job.id)
        assert beat(uow, stale) is LeaseAnswer.LOST


class TestEnd:
    def test_a_success_keeps_its_outcome(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow)
        claim = start(uow, job.id)
        with uow:
            assert uow.leases.succeed(claim, {"volumes_ml": {"Bladder": 12.5}, "warnings": []})
            uow.commit()

        found = job_of(uow, job.id)
        assert found.state is JobState.SUCCEEDED
        assert found.stage is JobStage.DONE
        assert found.progress == 1.0
        assert found.volumes_ml == {"Bladder": 12.5}
        assert found.finished_at == clock()
        assert found.lease_owner is None

    def test_a_failure_keeps_its_reason(self, uow: UnitOfWork) -> None:
        job = add_job(uow)
        claim = start(uow, job.id)
        with uow:
            assert uow.leases.fail(claim, code="gantry_tilt", detail="tilted", context={"deg": 3})
            uow.commit()

        found = job_of(uow, job.id)
        assert found.state is JobState.FAILED
        assert (found.error_code, found.error_detail) == ("gantry_tilt", "tilted")
        assert found.error_context == {"deg": 3}

    def test_a_stale_worker_ends_nothing(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow)
        stale = start(uow, job.id)
        clock.advance(seconds=61)
        reap(uow)
        fresh = start(uow, job.id)

        with uow:
            assert not uow.leases.succeed(stale, {})
            assert not uow.leases.fail(stale, code="x", detail="x", context={})
            assert not uow.leases.cancel(stale)
            assert uow.leases.cancel(fresh)
            uow.commit()

        assert job_of(uow, job.id).state is JobState.CANCELLED


class TestReap:
    def test_a_lost_job_is_queued_again_and_sent(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow)
        start(uow, job.id)
        with uow:
            uow.leases.mark_sent(TASK, [job.id])
            uow.commit()
        clock.advance(seconds=61)

        assert reap(uow).requeued == (job.id,)

        with uow:
            assert uow.leases.due_for_sending(TASK, resend_seconds=3600) == [job.id]
        assert start(uow, job.id).attempt == 2

    def test_a_job_that_kills_its_workers_fails(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow, max_attempts=2)
        start(uow, job.id)
        clock.advance(seconds=61)
        reap(uow)
        start(uow, job.id)
        clock.advance(seconds=61)

        assert reap(uow).failed == (job.id,)
        found = job_of(uow, job.id)
        assert found.state is JobState.FAILED
        assert found.error_code == JobErrorCode.WORKER_LOST
        assert found.finished_at == clock()

    def test_a_lost_job_that_was_to_stop_is_cancelled(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow)
        start(uow, job.id)
        with uow:
            uow.contour_jobs.request_cancel(job.id)
            uow.commit()
        clock.advance(seconds=61)

        assert reap(uow).cancelled == (job.id,)
        assert job_of(uow, job.id).state is JobState.CANCELLED

    def test_a_lease_from_before_the_clock_was_set_back_is_over(
        self, uow: UnitOfWork, clock: Clock
    ) -> None:
        job = add_job(uow)
        start(uow, job.id)
        clock.advance(hours=-3)

        with uow:
            assert uow.leases.reap(TASK, longest_seconds=60).requeued == (job.id,)

    def test_clocks_that_differ_by_less_than_a_lease_do_no_harm(
        self, uow: UnitOfWork, clock: Clock
    ) -> None:
        start(uow, add_job(uow).id)
        clock.advance(seconds=-50)

        with uow:
            assert uow.leases.reap(TASK, longest_seconds=60).requeued == ()

    def test_a_job_in_good_hands_is_left_alone(self, uow: UnitOfWork, clock: Clock) -> None:
        start(uow, add_job(uow).id)
        clock.advance(seconds=59)

        reaped = reap(uow)

        assert (reaped.requeued, reaped.failed, reaped.cancelled) == ((), (), ())


class TestGiveBack:
    def test_a_job_given_back_waits_for_its_next_start(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow)
        claim = start(uow, job.id)

        with uow:
            assert uow.leases.give_back(claim)
            uow.commit()

        found = job_of(uow, job.id)
        assert (found.state, found.stage, found.attempt) == (JobState.QUEUED, JobStage.WAITING, 1)
        with uow:
            assert uow.leases.due_for_sending(TASK, resend_seconds=60) == []
        clock.advance(seconds=61)
        with uow:
            assert uow.leases.due_for_sending(TASK, resend_seconds=60) == [job.id]

    def test_the_last_start_cannot_be_given_back(self, uow: UnitOfWork) -> None:
        claim = start(uow, add_job(uow, max_attempts=1).id)

        with uow:
            assert not uow.leases.give_back(claim)

    def test_nobody_gives_back_what_another_holds(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow)
        stale = start(uow, job.id)
        clock.advance(seconds=61)
        reap(uow)
        start(uow, job.id)

        with uow:
            assert not uow.leases.give_back(stale)


class TestDueForSending:
    def test_a_message_sent_before_the_clock_was_set_back_is_due(
        self, uow: UnitOfWork, clock: Clock
    ) -> None:
        job = add_job(uow)
        with uow:
            uow.leases.mark_sent(TASK, [job.id])
            uow.commit()
        clock.advance(hours=-3)

        with uow:
            assert uow.leases.due_for_sending(TASK, resend_seconds=60) == [job.id]

    def test_old_messages_are_due_again(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow)
        with uow:
            uow.leases.mark_sent(TASK, [job.id])
            uow.commit()

        with uow:
            assert uow.leases.due_for_sending(TASK, resend_seconds=60) == []
        clock.advance(seconds=61)
        with uow:
            assert uow.leases.due_for_sending(TASK, resend_seconds=60) == [job.id]

    @pytest.mark.parametrize(("sent", "due"), [(True, RESEND_WINDOW), (False, RESEND_WINDOW + 2)])
    def test_a_long_queue_is_not_sent_again_as_a_whole(
        self, uow: UnitOfWork, clock: Clock, *, sent: bool, due: int
    ) -> None:
        jobs = [add_job(uow) for _ in range(RESEND_WINDOW + 2)]
        if sent:
            with uow:
                uow.leases.mark_sent(TASK, [job.id for job in jobs])
                uow.commit()
        clock.advance(seconds=61)

        with uow:
            assert len(uow.leases.due_for_sending(TASK, resend_seconds=60)) == due

    def test_the_longer_a_row_waits_the_rarer_its_messages(
        self, uow: UnitOfWork, clock: Clock
    ) -> None:
        job = add_job(uow)
        sent = 0
        for _ in range(24 * 60):
            with uow:
                if uow.leases.due_for_sending(TASK, resend_seconds=60):
                    uow.leases.mark_sent(TASK, [job.id])
                    uow.commit()
                    sent += 1
            clock.advance(seconds=60)

        assert 20 < sent < 200

    def test_a_clock_set_forward_delays_a_message_by_minutes(
        self, uow: UnitOfWork, clock: Clock
    ) -> None:
        job = add_job(uow)
        clock.advance(hours=12)
        with uow:
            uow.leases.mark_sent(TASK, [job.id])
            uow.commit()
        clock.advance(seconds=60 * RESEND_MOST + 1)

        with uow:
            assert uow.leases.due_for_sending(TASK, resend_seconds=60) == [job.id]


class TestHold:
    def test_only_the_holder_of_the_lease_may_write(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow)
        stale = start(uow, job.id)
        clock.advance(seconds=61)
        reap(uow)
        fresh = start(uow, job.id)

        with uow:
            assert not uow.leases.hold(stale)
            assert uow.leases.hold(fresh)


class TestEveryTask:
    @pytest.mark.parametrize("task", TaskName)
    def test_every_table_can_be_reaped_and_sent(self, uow: UnitOfWork, task: TaskName) -> None:
        with uow:
            assert uow.leases.reap(task).requeued == ()
            assert uow.leases.due_for_sending(task, resend_seconds=60) == []
            assert uow.leases.claim(task, uuid4(), owner="w", seconds=60) is None
