import datetime as dt
from uuid import uuid4

import pytest

from services.core.errors import ContourJobNotFoundError, IllegalTransitionError
from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.repositories.paging import PageCursor
from services.core.unit_of_work import UnitOfWork
from tests.factories.rows import add_job, job_of
from tests.fakes import Clock


def start(uow: UnitOfWork, job_id, **values):
    with uow:
        claim = uow.leases.claim(
            TaskName.CONTOUR_JOB_RUN, job_id, owner="worker-1", seconds=values.get("seconds", 60)
        )
        uow.commit()
    assert claim is not None
    return claim


def end(uow: UnitOfWork, job_id) -> None:
    claim = start(uow, job_id)
    with uow:
        uow.leases.succeed(claim, {})
        uow.commit()


class TestQueuePosition:
    def test_older_queued_jobs_come_first(self, uow: UnitOfWork, clock: Clock) -> None:
        jobs = []
        for _ in range(3):
            jobs.append(add_job(uow))
            clock.advance(seconds=1)
        start(uow, jobs[0].id)

        with uow:
            positions = [
                uow.contour_jobs.queue_position(uow.contour_jobs.get(job.id)) for job in jobs
            ]

        assert positions == [None, 0, 1]

    def test_jobs_of_the_same_moment_have_different_positions(self, uow: UnitOfWork) -> None:
        jobs = [add_job(uow) for _ in range(3)]

        with uow:
            positions = {uow.contour_jobs.queue_position(job) for job in jobs}

        assert positions == {0, 1, 2}


class TestPage:
    def test_lists_can_be_narrowed(self, uow: UnitOfWork, clock: Clock) -> None:
        first = add_job(uow)
        clock.advance(seconds=1)
        second = add_job(uow)
        start(uow, first.id)

        with uow:
            pages = uow.contour_jobs
            assert [j.id for j in pages.page(10)] == [second.id, first.id]
            assert [j.id for j in pages.page(10, state=JobState.RUNNING)] == [first.id]
            assert [j.id for j in pages.page(10, series_id=second.series_id)] == [second.id]
            after = PageCursor(created_at=second.created_at, id=second.id)
            assert [j.id for j in pages.page(10, after)] == [first.id]

    def test_states_are_counted(self, uow: UnitOfWork) -> None:
        start(uow, add_job(uow).id)
        add_job(uow)
        add_job(uow)

        with uow:
            assert uow.contour_jobs.count_by_state() == {JobState.RUNNING: 1, JobState.QUEUED: 2}


class TestRequestCancel:
    def test_a_queued_job_is_cancelled_at_once(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow)
        with uow:
            found = uow.contour_jobs.request_cancel(job.id)
            uow.commit()

        assert found.state is JobState.CANCELLED
        assert found.finished_at == clock()

    def test_a_running_job_is_asked_to_stop(self, uow: UnitOfWork) -> None:
        job = add_job(uow)
        start(uow, job.id)
        with uow:
            found = uow.contour_jobs.request_cancel(job.id)
            uow.commit()

        assert found.state is JobState.RUNNING
        assert found.cancel_requested

    def test_cancelling_twice_is_no_error(self, uow: UnitOfWork) -> None:
        job = add_job(uow)
        with uow:
            uow.contour_jobs.request_cancel(job.id)
            assert uow.contour_jobs.request_cancel(job.id).state is JobState.CANCELLED

    def test_an_ended_job_is_refused(self, uow: UnitOfWork) -> None:
        job = add_job(uow)
        end(uow, job.id)

        with uow, pytest.raises(IllegalTransitionError) as caught:
            uow.contour_jobs.request_cancel(job.id)

        assert caught.value.context["state"] == "succeeded"

    def test_an_unknown_job_is_not_found(self, uow: UnitOfWork) -> None:
        with uow, pytest.raises(ContourJobNotFoundError):
            uow.contour_jobs.request_cancel(uuid4())


class TestPurge:
    def test_only_ended_jobs_are_purged_and_once(self, uow: UnitOfWork, clock: Clock) -> None:
        ended, queued = add_job(uow), add_job(uow)
        end(uow, ended.id)
        later = clock() + dt.timedelta(seconds=1)

        with uow:
            assert uow.contour_jobs.due_for_purge(later, 10) == [ended.id]
            assert not uow.contour_jobs.purge(queued.id)
            assert uow.contour_jobs.purge(ended.id)
            assert not uow.contour_jobs.purge(ended.id)
            uow.commit()
        with uow:
            assert uow.contour_jobs.due_for_purge(later, 10) == []

        assert job_of(uow, ended.id).purged_at == clock()

    def test_results_of_ended_and_running_jobs_are_known(self, uow: UnitOfWork) -> None:
        ended, running, queued = add_job(uow), add_job(uow), add_job(uow)
        end(uow, ended.id)
        start(uow, running.id)

        with uow:
            known = uow.contour_jobs.with_result_among([ended.id, running.id, queued.id, uuid4()])

        assert known == {ended.id, running.id}
