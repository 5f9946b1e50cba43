import json

import pytest
from structlog.testing import capture_logs

from services.core.errors import ContourJobNotFoundError
from services.core.queue import TaskName
from services.core.unit_of_work import UnitOfWork
from tests.factories.rows import add_job, job_of, make_series
from tests.fakes import Clock, FakeJobQueue


class TestUnitOfWork:
    def test_what_was_not_committed_is_gone(self, uow: UnitOfWork) -> None:
        with uow:
            series, _ = uow.series.get_or_create(make_series())
            job = uow.contour_jobs.add(series.id, correlation_id="x", max_attempts=1)
            uow.enqueue(TaskName.CONTOUR_JOB_RUN, job.id)

        with pytest.raises(ContourJobNotFoundError):
            job_of(uow, job.id)

    def test_no_message_leaves_without_a_commit(
        self, uow: UnitOfWork, job_queue: FakeJobQueue
    ) -> None:
        job = add_job(uow)
        with uow:
            uow.enqueue(TaskName.CONTOUR_JOB_RUN, job.id)
        with uow:
            uow.commit()

        assert job_queue.messages == []

    def test_messages_leave_after_the_commit(
        self, uow: UnitOfWork, job_queue: FakeJobQueue, clock: Clock
    ) -> None:
        job = add_job(uow)
        with uow:
            uow.enqueue(TaskName.CONTOUR_JOB_RUN, job.id)
            uow.commit()

        assert job_queue.resource_ids == [job.id]
        assert job_of(uow, job.id).published_at == clock()

    def test_a_second_commit_sends_nothing_again(
        self, uow: UnitOfWork, job_queue: FakeJobQueue
    ) -> None:
        job = add_job(uow)
        with uow:
            uow.enqueue(TaskName.CONTOUR_JOB_RUN, job.id)
            uow.commit()
            uow.commit()

        assert job_queue.resource_ids == [job.id]

    def test_a_broker_that_is_down_loses_no_row(
        self, uow: UnitOfWork, job_queue: FakeJobQueue
    ) -> None:
        job = add_job(uow)
        job_queue.is_down = True
        with capture_logs() as logs, uow:
            uow.enqueue(TaskName.CONTOUR_JOB_RUN, job.id)
            uow.commit()

        assert job_of(uow, job.id).published_at is None
        assert "message unsent" in json.dumps(logs)
        with uow:
            assert uow.leases.due_for_sending(TaskName.CONTOUR_JOB_RUN, resend_seconds=60) == [
                job.id
            ]

    def test_a_broker_that_is_down_is_asked_once_a_commit(
        self, uow: UnitOfWork, job_queue: FakeJobQueue
    ) -> None:
        jobs = [add_job(uow) for _ in range(3)]
        job_queue.is_down = True
        with capture_logs() as logs, uow:
            for job in jobs:
                uow.enqueue(TaskName.CONTOUR_JOB_RUN, job.id)
            uow.commit()

        assert [log["event"] for log in logs] == ["message unsent"]
