import datetime as dt
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from services.core.database import utc_now
from services.core.errors import StoredFilesMissingError
from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.storage import RTSTRUCT_NAME, FilesystemStorage, StoredKind
from services.core.tables.operations import WorkerHeartbeat
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.housekeeping import (
    NEEDED_AMONG,
    Housekeeper,
    clear_up,
    purge_edited,
    purge_results,
    purge_series,
    remove_orphans,
    report_worker,
    send_again,
    take_over_lost_jobs,
)
from tests.factories.datasets import add_dataset, add_folder, end_version, queue_version
from tests.factories.model_versions import add_version
from tests.factories.reviews import add_edit
from tests.factories.rows import add_job, job_of
from tests.factories.workers import run_contour_job
from tests.fakes import Clock, FakeJobQueue

A_DAY = dt.timedelta(days=1)


def heartbeats(uow: UnitOfWork) -> list[WorkerHeartbeat]:
    with uow:
        return uow.workers.seen_within(60)


def wait_until(is_done: Callable[[], object]) -> None:
    for _ in range(1000):
        if is_done():
            return
        time.sleep(0.01)
    pytest.fail("it did not happen")


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

        take_over_lost_jobs(uow)
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


class TestPurge:
    def test_files_of_old_jobs_go_and_rows_stay(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        job_id: UUID,
        clock: Clock,
    ) -> None:
        run_contour_job(worker, job_id)
        series_id = job_of(uow, job_id).series_id

        purge_results(uow, storage, clock())
        purge_series(uow, storage, clock())
        assert storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME).is_file()

        purge_series(uow, storage, clock() + A_DAY)
        assert storage.folder(StoredKind.SERIES, series_id).is_dir()  # its job still has a result

        purge_results(uow, storage, clock() + A_DAY)
        purge_series(uow, storage, clock() + A_DAY)
        assert job_of(uow, job_id).purged_at is not None
        with pytest.raises(StoredFilesMissingError):
            storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME)
        with pytest.raises(StoredFilesMissingError):
            storage.folder(StoredKind.SERIES, series_id)


class TestPurgeEdited:
    def test_edits_go_after_their_time_and_keep_their_job_and_series_until_then(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        job_id: UUID,
        clock: Clock,
    ) -> None:
        run_contour_job(worker, job_id)
        series_id = job_of(uow, job_id).series_id
        edited = add_edit(uow, job_id, {})
        with storage.staging() as folder:
            (folder / RTSTRUCT_NAME).write_bytes(b"edited")
            storage.publish(StoredKind.EDITED_RTSTRUCTS, folder, edited.id)

        purge_edited(uow, storage, clock())
        purge_results(uow, storage, clock() + A_DAY)
        purge_series(uow, storage, clock() + A_DAY)
        for kind, stored_id in (
            (StoredKind.EDITED_RTSTRUCTS, edited.id),
            (StoredKind.RESULTS, job_id),
            (StoredKind.SERIES, series_id),
        ):
            assert storage.folder(kind, stored_id).is_dir()

        purge_edited(uow, storage, clock() + A_DAY)
        purge_results(uow, storage, clock() + A_DAY)
        purge_series(uow, storage, clock() + A_DAY)
        for kind in (StoredKind.EDITED_RTSTRUCTS, StoredKind.RESULTS, StoredKind.SERIES):
            assert storage.list_stored(kind, 0) == []
        with uow:
            assert uow.edited_rtstructs.get(edited.id).scores is not None


class TestRemoveOrphans:
    def test_only_old_folders_without_a_row_go(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        job_id: UUID,
        tmp_path: Path,
    ) -> None:
        run_contour_job(worker, job_id)
        known = job_of(uow, job_id).series_id
        edited = add_edit(uow, job_id, {}).id
        with storage.staging() as folder:
            storage.publish(StoredKind.EDITED_RTSTRUCTS, folder, edited)
        old, young = uuid4(), uuid4()
        for orphan in (old, young):
            for kind in NEEDED_AMONG:
                with storage.staging() as folder:
                    storage.publish(kind, folder, orphan)
        staged = tmp_path / "storage" / "incoming" / str(uuid4())
        staged.mkdir()
        a_day_ago = time.time() - A_DAY.total_seconds()
        for path in (tmp_path / "storage").rglob("*"):
            if str(young) not in str(path):
                os.utime(path, (a_day_ago, a_day_ago))

        remove_orphans(uow, storage, 3600)

        assert not staged.exists()
        assert set(storage.list_stored(StoredKind.SERIES, 0)) == {known, young}
        assert set(storage.list_stored(StoredKind.RESULTS, 0)) == {job_id, young}
        assert set(storage.list_stored(StoredKind.EDITED_RTSTRUCTS, 0)) == {edited, young}

    def test_of_datasets_what_a_row_needs_stays(
        self, uow: UnitOfWork, storage: FilesystemStorage, tmp_path: Path
    ) -> None:
        dataset_id = add_dataset(uow)
        source_id = add_folder(uow, dataset_id)
        stored, purged, cancelled, queued = (queue_version(uow, dataset_id) for _ in range(4))
        end_version(uow, stored)
        end_version(uow, purged)
        with uow:
            uow.dataset_versions.purge(uow.dataset_versions.get_locked(purged))
            uow.dataset_versions.request_cancel(cancelled)
            uow.commit()
        a_run = uuid4()
        everything = [source_id, stored, purged, cancelled, queued, a_run]
        kept = {
            StoredKind.DATASET_UPLOADS: {source_id},
            StoredKind.DATASETS: {stored},
            StoredKind.CROPS: {stored},
            StoredKind.WORKSPACES: {source_id, queued, a_run},
        }
        for kind in kept:
            for resource_id in everything:
                with storage.staging() as folder:
                    storage.publish(kind, folder, resource_id)
        remove_orphans(uow, storage, 3600)
        assert {len(storage.list_stored(kind, 0)) for kind in kept} == {len(everything)}
        a_day_ago = time.time() - A_DAY.total_seconds()
        for path in (tmp_path / "storage").rglob("*"):
            os.utime(path, (a_day_ago, a_day_ago))

        remove_orphans(uow, storage, 3600)

        assert {kind: set(storage.list_stored(kind, 0)) for kind in kept} == kept

    def test_folders_of_versions_and_shadows_without_a_row_go(
        self, uow: UnitOfWork, storage: FilesystemStorage, job_id: UUID
    ) -> None:
        kinds = (StoredKind.MODEL_VERSIONS, StoredKind.MODEL_UPLOADS, StoredKind.SHADOW_RESULTS)
        ready = add_version(uow, storage, "ready", seed=1)
        queued = add_version(uow, storage, "queued", seed=2, state=JobState.QUEUED)
        failed = add_version(uow, storage, "failed", seed=3, state=JobState.FAILED)
        with uow:
            shadow = uow.shadow_contours.add(job_id, ready, correlation_id="c", max_attempts=1)
            uow.leases.claim(TaskName.SHADOW_CONTOUR_RUN, shadow.id, owner="w", seconds=60)
            uow.commit()
        for kind in kinds:
            for resource_id in (ready, queued, failed, shadow.id):
                with storage.staging() as folder:
                    storage.publish(kind, folder, resource_id)

        remove_orphans(uow, storage, -1)

        left = {kind: set(storage.list_stored(kind, -1)) for kind in kinds}
        assert left[StoredKind.MODEL_VERSIONS] == {ready}
        assert left[StoredKind.MODEL_UPLOADS] == {queued}
        assert left[StoredKind.SHADOW_RESULTS] == {shadow.id}


class TestClearUp:
    def test_old_keys_and_reports_are_forgotten(
        self, worker: WorkerContext, uow: UnitOfWork, clock: Clock
    ) -> None:
        clock.advance(days=(utc_now() - clock()).days - 2)
        request = {"route": "r", "key": "k", "request_sha256": "a" * 64}
        with uow:
            uow.idempotency.remember(**request, resource_id=uuid4())
            uow.commit()
        report_worker(worker)

        clear_up(worker)

        with uow:
            assert uow.idempotency.find(**request) is None
        assert heartbeats(uow) == []


class TestHousekeeper:
    def test_it_reports_until_it_signs_off(self, worker: WorkerContext, uow: UnitOfWork) -> None:
        housekeeper = Housekeeper(worker)
        housekeeper.start()
        wait_until(lambda: heartbeats(uow))

        housekeeper.stop()

        assert heartbeats(uow) == []

    def test_a_broken_pass_does_not_end_it(
        self, worker: WorkerContext, uow: UnitOfWork, engine: sa.Engine
    ) -> None:
        with engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE worker_heartbeat RENAME TO away"))
        housekeeper = Housekeeper(worker)
        housekeeper.start()
        time.sleep(0.05)
        with engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE away RENAME TO worker_heartbeat"))

        wait_until(lambda: heartbeats(uow))

        housekeeper.stop()

    def test_files_are_cleared_up_once_in_a_while(
        self, worker: WorkerContext, uow: UnitOfWork, job_id: UUID, clock: Clock
    ) -> None:
        run_contour_job(worker, job_id)
        often = replace(worker, times=replace(worker.times, result_retention_days=1))
        housekeeper = Housekeeper(often)  # the test's clock stands long before today

        housekeeper.start()
        wait_until(lambda: job_of(uow, job_id).purged_at)

        housekeeper.stop()
        with pytest.raises(StoredFilesMissingError):
            worker.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME)
