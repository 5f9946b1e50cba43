import errno
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pydicom
import pytest
import sqlalchemy as sa
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import OperationalError

from ml.dicom.errors import DicomError, DicomErrorCode
from services.core.errors import StoredFilesMissingError
from services.core.lifecycle import JobErrorCode, JobStage, JobState
from services.core.queue import TaskName
from services.core.storage import RTSTRUCT_NAME, FilesystemStorage, StoredKind
from services.core.unit_of_work import UnitOfWork
from services.worker import contouring, lease
from services.worker.context import WorkerContext
from services.worker.networks import GpuOutOfMemoryError
from tests.factories.rows import job_of
from tests.factories.workers import run_contour_job
from tests.fakes import Clock, FullStorage, ScriptedPredictor
from tests.waiting import turns


class TestSuccess:
    def test_the_result_and_its_facts_are_kept(
        self, worker: WorkerContext, uow: UnitOfWork, job_id: UUID
    ) -> None:
        run_contour_job(worker, job_id)

        job = job_of(uow, job_id)
        assert job.state is JobState.SUCCEEDED
        assert job.stage is JobStage.DONE
        assert job.volumes_ml == {"Bladder": 1.0}
        assert job.warnings == [
            {"code": "no_pelvis", "structure": None, "message": "a test", "facts": {"slices": 3}}
        ]
        assert job.settings == {"device": "cpu", "batch_size": 4, "thread_count": 1}
        assert (job.model_version, job.software_version) == ("test-network", "0.0.0")
        assert job.seconds is not None
        assert job.seconds["contouring_network"] == 0.1
        assert (
            pydicom.dcmread(worker.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME)).Modality
            == "RTSTRUCT"
        )

    def test_nothing_is_left_behind(
        self, worker: WorkerContext, job_id: UUID, tmp_path: Path
    ) -> None:
        run_contour_job(worker, job_id)

        assert list((tmp_path / "storage" / "incoming").iterdir()) == []

    def test_the_network_is_loaded_once(
        self, worker: WorkerContext, job_id: UUID, predictor: ScriptedPredictor
    ) -> None:
        first = worker.networks.get(None)

        run_contour_job(worker, job_id)

        assert worker.networks.get(None) is first


class TestNothingToDo:
    def test_a_message_for_a_started_job_changes_nothing(
        self, worker: WorkerContext, uow: UnitOfWork, job_id: UUID, predictor: ScriptedPredictor
    ) -> None:
        run_contour_job(worker, job_id)
        finished_at = job_of(uow, job_id).finished_at

        run_contour_job(worker, job_id)
        run_contour_job(worker, uuid4())

        assert predictor.calls == 1
        assert job_of(uow, job_id).finished_at == finished_at


class TestFailure:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (GpuOutOfMemoryError(8), JobErrorCode.GPU_OUT_OF_MEMORY),
            (SoftTimeLimitExceeded(), JobErrorCode.TIME_LIMIT),
            (RuntimeError("Doe^Jane"), JobErrorCode.INTERNAL_ERROR),
        ],
    )
    def test_the_reason_is_kept_and_no_value_leaks(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        job_id: UUID,
        predictor: ScriptedPredictor,
        error: Exception,
        code: JobErrorCode,
    ) -> None:
        predictor.action = lambda _: raise_(error)

        run_contour_job(worker, job_id)

        job = job_of(uow, job_id)
        assert (job.state, job.error_code) == (JobState.FAILED, code)
        assert job.error_detail is not None
        assert "Doe" not in job.error_detail
        with pytest.raises(StoredFilesMissingError):
            worker.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME)

    def test_bad_dicom_fails_with_its_code_and_instances(
        self, worker: WorkerContext, uow: UnitOfWork, job_id: UUID, storage: FilesystemStorage
    ) -> None:
        folder = storage.folder(StoredKind.SERIES, job_of(uow, job_id).series_id)
        slice_2 = pydicom.dcmread(folder / "00002.dcm")
        slice_2.ImagePositionPatient[2] += 0.5
        slice_2.save_as(folder / "00002.dcm")

        run_contour_job(worker, job_id)

        job = job_of(uow, job_id)
        assert (job.state, job.error_code) == (JobState.FAILED, "irregular_spacing")
        assert job.error_context is not None
        assert job.error_context["sop_instance_uids"]

    def test_missing_files_are_told(
        self, worker: WorkerContext, uow: UnitOfWork, job_id: UUID, storage: FilesystemStorage
    ) -> None:
        storage.delete(StoredKind.SERIES, job_of(uow, job_id).series_id)

        run_contour_job(worker, job_id)

        assert job_of(uow, job_id).error_code == JobErrorCode.STORED_FILES_MISSING

    def test_a_full_storage_has_the_job_tried_again_until_it_fails(
        self, worker: WorkerContext, uow: UnitOfWork, job_id: UUID, tmp_path: Path
    ) -> None:
        full = replace(worker, storage=FullStorage(tmp_path / "storage"))

        run_contour_job(full, job_id)

        job = job_of(uow, job_id)
        assert (job.state, job.attempt, job.lease_until) == (JobState.QUEUED, 1, None)
        for _ in range(job.max_attempts - 1):
            run_contour_job(full, job_id)
        job = job_of(uow, job_id)
        assert (job.state, job.error_code) == (JobState.FAILED, "storage_unavailable")

    def test_a_job_goes_on_once_the_disk_can_be_read_again(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        job_id: UUID,
        predictor: ScriptedPredictor,
    ) -> None:
        def broken_disk(_report: Callable[[float], None]) -> None:
            raise OSError(errno.EIO, "Input/output error")

        predictor.action = broken_disk
        run_contour_job(worker, job_id)
        assert job_of(uow, job_id).state is JobState.QUEUED
        predictor.action = lambda _: None
        run_contour_job(worker, job_id)

        job = job_of(uow, job_id)
        assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)

    def test_nothing_is_started_while_the_storage_cannot_be_written(
        self, worker: WorkerContext, uow: UnitOfWork, job_id: UUID, tmp_path: Path
    ) -> None:
        (tmp_path / "no-folder").touch()
        unusable = replace(worker, storage=FilesystemStorage(tmp_path / "no-folder"))

        run_contour_job(unusable, job_id)

        job = job_of(uow, job_id)
        assert (job.state, job.attempt) == (JobState.QUEUED, 0)

    def test_a_database_that_fails_has_the_job_tried_again(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        job_id: UUID,
        predictor: ScriptedPredictor,
    ) -> None:
        def lose_connection(_report: Callable[[float], None]) -> None:
            raise OperationalError("COMMIT", None, Exception("server closed the connection"))

        predictor.action = lose_connection
        run_contour_job(worker, job_id)

        assert job_of(uow, job_id).state is JobState.QUEUED

    def test_an_object_that_fails_its_check_is_not_released(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        job_id: UUID,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def break_file(path: Path, _series: object) -> None:
            raise DicomError(DicomErrorCode.RTSTRUCT_INVALID, path.name)

        monkeypatch.setattr(contouring, "check_rtstruct", break_file)

        run_contour_job(worker, job_id)

        assert job_of(uow, job_id).error_code == "rtstruct_invalid"
        with pytest.raises(StoredFilesMissingError):
            worker.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME)


class TestCancel:
    def test_a_cancel_stops_the_network(
        self, worker: WorkerContext, uow: UnitOfWork, job_id: UUID, predictor: ScriptedPredictor
    ) -> None:
        def cancel_and_go_on(on_progress: Callable[[float], None]) -> None:
            with worker.unit_of_work() as other:
                other.contour_jobs.request_cancel(job_id)
                other.commit()
            report_until_stopped(on_progress)

        predictor.action = cancel_and_go_on

        run_contour_job(worker, job_id)

        assert job_of(uow, job_id).state is JobState.CANCELLED


class TestLostLease:
    def test_a_worker_whose_job_was_taken_over_stops(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        job_id: UUID,
        predictor: ScriptedPredictor,
        clock: Clock,
    ) -> None:
        def lose_and_go_on(on_progress: Callable[[float], None]) -> None:
            take_over(worker, job_id, clock)
            report_until_stopped(on_progress)

        predictor.action = lose_and_go_on

        run_contour_job(worker, job_id)

        job = job_of(uow, job_id)
        assert (job.state, job.attempt) == (JobState.RUNNING, 2)

    def test_a_result_that_comes_too_late_is_dropped(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        job_id: UUID,
        predictor: ScriptedPredictor,
        clock: Clock,
    ) -> None:
        # So slow a heartbeat never hears that the lease is gone: only the fencing token tells.
        deaf = replace(worker, times=replace(worker.times, heartbeat_seconds=3600))
        predictor.action = lambda _: take_over(worker, job_id, clock)

        run_contour_job(deaf, job_id)

        job = job_of(uow, job_id)
        assert (job.state, job.attempt) == (JobState.RUNNING, 2)
        with pytest.raises(StoredFilesMissingError):
            worker.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME)

    def test_a_worker_that_cannot_reach_the_database_stops_at_its_lease_s_end(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        job_id: UUID,
        predictor: ScriptedPredictor,
        engine: sa.Engine,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def lose_the_table(on_progress: Callable[[float], None]) -> None:
            with engine.begin() as connection:
                connection.execute(sa.text("ALTER TABLE contour_job RENAME TO away"))
            on_progress(0.5)  # no heartbeat is written any more, but the lease goes on
            end = time.monotonic() + worker.times.lease_seconds + 1
            monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=lambda: end))
            report_until_stopped(on_progress)

        predictor.action = lose_the_table

        run_contour_job(worker, job_id)

        with engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE away RENAME TO contour_job"))
        assert job_of(uow, job_id).state is JobState.RUNNING  # for others to take over


def raise_(error: Exception) -> None:
    raise error


def take_over(worker: WorkerContext, job_id: UUID, clock: Clock) -> None:
    """What another worker does once the lease ran out."""
    with worker.unit_of_work() as other:
        other.contour_jobs.get(job_id)  # from here on no heartbeat is written
        clock.advance(seconds=3600)
        other.leases.reap(TaskName.CONTOUR_JOB_RUN)
        other.leases.claim(TaskName.CONTOUR_JOB_RUN, job_id, owner="other", seconds=10**6)
        other.commit()


def report_until_stopped(on_progress: Callable[[float], None]) -> None:
    """A network that goes on until a report raises; gives up after a while."""
    for _ in turns():
        on_progress(0.5)
        time.sleep(0.005)
