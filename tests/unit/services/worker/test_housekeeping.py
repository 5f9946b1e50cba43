from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from services.core.errors import StoredFilesMissingError
from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.storage import RTSTRUCT_NAME, StoredKind
from services.core.tables.operations import WorkerHeartbeat
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.housekeeping import (
    Housekeeper,
    report_worker,
    send_again,
    take_over_lost_jobs,
)
from tests.factories.deletions import add_stored_series, ask_for_deletion
from tests.factories.rows import add_job, job_of
from tests.factories.workers import run_contour_job
from tests.fakes import Clock, FakeJobQueue, SickStorage, SlowStorage
from tests.waiting import wait_until


def heartbeats(uow: UnitOfWork) -> list[WorkerHeartbeat]:
    with uow:
        return uow.workers.seen_within(60)


@contextmanager
def keeping_house(worker: WorkerContext) -> Iterator[None]:
    """Keep house beside the block, and no longer, whatever becomes of it."""
    housekeeper = Housekeeper(worker)
    housekeeper.start()
    try:
        yield
    finally:
        housekeeper.stop()


def wait_for_report(worker: WorkerContext, uow: UnitOfWork) -> WorkerHeartbeat:
    """What a worker reports from now on."""
    with uow:
        uow.workers.sign_off(worker.name)
        uow.commit()
    wait_until(lambda: heartbeats(uow))
    return heartbeats(uow)[0]


class TestReportWorker:
    def test_an_unloaded_network_is_not_claimed(
        self, worker: WorkerContext, uow: UnitOfWork
    ) -> None:
        report_worker(worker)

        (found,) = heartbeats(uow)
        assert not found.weights_loaded
        assert found.model_version is None

    def test_a_loaded_network_is_named(self, worker: WorkerContext, uow: UnitOfWork) -> None:
        worker.networks.get(None)

        report_worker(worker)

        (found,) = heartbeats(uow)
        assert found.weights_loaded
        assert (found.model_version, found.weights_sha256) == ("test-network", "0" * 64)


class TestTakeOver:
    def test_a_lost_job_is_sent_again(
        self, uow: UnitOfWork, clock: Clock, job_queue: FakeJobQueue
    ) -> None:
        job = add_job(uow)
        with uow:
            uow.leases.claim(TaskName.CONTOUR_JOB_RUN, job.id, owner="lost", seconds=60)
            uow.commit()
        clock.advance(seconds=61)

        take_over_lost_jobs(uow, lease_seconds=60)
        send_again(uow, resend_seconds=60)

        assert job_of(uow, job.id).state is JobState.QUEUED
        assert job_queue.resource_ids == [job.id]

    def test_a_message_just_sent_is_not_sent_again(
        self, uow: UnitOfWork, job_queue: FakeJobQueue
    ) -> None:
        add_job(uow)

        send_again(uow, resend_seconds=60)
        send_again(uow, resend_seconds=60)

        assert len(job_queue.messages) == 1


class TestHousekeeper:
    def test_it_reports_until_it_signs_off(self, worker: WorkerContext, uow: UnitOfWork) -> None:
        with keeping_house(worker):
            wait_until(lambda: heartbeats(uow))

        assert heartbeats(uow) == []

    def test_a_broken_pass_does_not_end_it(
        self, worker: WorkerContext, uow: UnitOfWork, engine: sa.Engine, tmp_path: Path
    ) -> None:
        with engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE worker_heartbeat RENAME TO away"))
        alive = tmp_path / "alive"
        with keeping_house(replace(worker, alive_file=alive)):
            for _ in range(2):  # a second pass begins, so the first one broke
                wait_until(alive.exists)
                alive.unlink()
            with engine.begin() as connection:
                connection.execute(sa.text("ALTER TABLE away RENAME TO worker_heartbeat"))

            wait_until(lambda: heartbeats(uow))

    def test_a_removal_that_takes_its_time_holds_up_nothing_else(
        self, worker: WorkerContext, uow: UnitOfWork, tmp_path: Path
    ) -> None:
        slow = SlowStorage(tmp_path / "storage")
        ask_for_deletion(uow, add_stored_series(uow, slow))

        with keeping_house(replace(worker, storage=slow)):
            try:
                wait_until(slow.has_begun.is_set)
                wait_for_report(worker, uow)
            finally:
                slow.may_end.set()

        assert slow.list_stored(StoredKind.SERIES, 0) == []
        assert heartbeats(uow) == []

    def test_it_has_not_cleared_up_while_something_cannot_be_removed(
        self, worker: WorkerContext, uow: UnitOfWork, tmp_path: Path
    ) -> None:
        sick = SickStorage(tmp_path / "storage")
        bad, good = add_stored_series(uow, sick), add_stored_series(uow, sick)
        sick.bad = {bad}

        with keeping_house(replace(worker, storage=sick)):
            wait_until(lambda: sick.list_stored(StoredKind.SERIES, 0) == [bad])
            tries = len(sick.tried)
            wait_until(lambda: len(sick.tried) > tries + 1)
            reported = wait_for_report(worker, uow)

        assert good in sick.tried
        assert reported.cleared_at is None

    def test_it_has_not_cleared_up_while_a_deletion_is_not_completed(
        self, worker: WorkerContext, uow: UnitOfWork, tmp_path: Path
    ) -> None:
        sick = SickStorage(tmp_path / "storage")
        series_id = add_stored_series(uow, sick)
        ask_for_deletion(uow, series_id)
        sick.bad = {series_id}

        with keeping_house(replace(worker, storage=sick)):
            wait_until(lambda: len(sick.tried) > 2)
            reported = wait_for_report(worker, uow)

        assert reported.cleared_at is None

    def test_files_are_cleared_up_once_in_a_while(
        self, worker: WorkerContext, uow: UnitOfWork, job_id: UUID, clock: Clock
    ) -> None:
        run_contour_job(worker, job_id)
        often = replace(worker, times=replace(worker.times, result_retention_days=1))

        with keeping_house(often):  # the test's clock stands long before today
            wait_until(lambda: job_of(uow, job_id).purged_at)

        with pytest.raises(StoredFilesMissingError):
            worker.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME)
