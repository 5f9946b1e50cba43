"""Jobs are contoured by what production means, and once more by the shadow, which nobody gets."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pydicom
import pytest
from sqlalchemy import event

from ml.geometry import Volume
from ml.structures import CERVIX
from services.api.series.service import SeriesService
from services.core.errors import StoredFilesMissingError
from services.core.lifecycle import AliasName, JobState
from services.core.queue import TaskName
from services.core.storage import (
    RTSTRUCT_NAME,
    WEIGHTS_NAME,
    FilesystemStorage,
    StoredKind,
)
from services.core.tables.model_versions import ShadowContour
from services.core.unit_of_work import UnitOfWork
from services.worker.assembly import load_production
from services.worker.clearing import purge_results
from services.worker.context import WorkerContext
from services.worker.housekeeping import report_worker
from services.worker.network_cache import NetworkCache
from services.worker.networks import WeightsUnusableError
from tests.factories.model_versions import add_version, set_alias, version_of
from tests.factories.rows import job_of
from tests.factories.workers import run_contour_job, run_task
from tests.fakes import (
    BoxPrediction,
    Clock,
    FakeJobQueue,
    ScriptedPredictor,
    loader_by_name,
    predict_boxes,
)


class ShiftedPredictor(ScriptedPredictor):
    """Puts every box two pixels further along its rows, and no rectum."""

    def predict(self, volume: Volume, on_progress) -> BoxPrediction:
        boxes = super().predict(volume, on_progress)
        labels = np.roll(boxes.labels, 2, axis=2)
        labels[labels == CERVIX.get("Rectum").number] = 0
        return replace(boxes, labels=labels)


@pytest.fixture
def production(uow: UnitOfWork, storage: FilesystemStorage) -> UUID:
    return add_version(uow, storage, "production", seed=1)


@pytest.fixture
def shadow(uow: UnitOfWork, storage: FilesystemStorage) -> UUID:
    version_id = add_version(uow, storage, "shadow", seed=2)
    set_alias(uow, AliasName.SHADOW, version_id)
    return version_id


@pytest.fixture
def able(worker: WorkerContext) -> WorkerContext:
    """A worker that can load the versions of these tests."""
    load = loader_by_name(
        ScriptedPredictor(),
        production=ScriptedPredictor(),
        shadow=ShiftedPredictor(),
        candidate=ScriptedPredictor(),
    )
    return replace(worker, networks=NetworkCache(worker.networks.options, load, worker.storage))


def another_job(uow: UnitOfWork, job_id: UUID) -> UUID:
    """A further job of the same series."""
    with uow:
        series_id = uow.contour_jobs.get(job_id).series_id
        job = uow.contour_jobs.add(series_id, correlation_id="request-2", max_attempts=3)
        uow.commit()
    return job.id


def shadows(uow: UnitOfWork, version_id: UUID) -> list[ShadowContour]:
    with uow:
        return uow.shadow_contours.page(version_id, 10)


def run_shadow(worker: WorkerContext, uow: UnitOfWork, version_id: UUID) -> ShadowContour:
    (row,) = shadows(uow, version_id)
    run_task(worker, TaskName.SHADOW_CONTOUR_RUN, row.id)
    (row,) = shadows(uow, version_id)
    return row


def software_of(path: Path) -> list[str]:
    return list(pydicom.dcmread(path).SoftwareVersions)


def is_ending(statement: str) -> bool:
    return statement.startswith("UPDATE shadow_contour") and "finished_at=" in statement


def table_of(statement: str) -> str:
    found = re.search(r"(?:FROM|UPDATE|INSERT INTO) (\w+)", statement)
    assert found is not None, statement
    return found[1]


class TestProduction:
    def test_the_next_job_uses_what_the_alias_means_then(
        self, able: WorkerContext, uow: UnitOfWork, job_id: UUID, production: UUID
    ) -> None:
        jobs = [job_id, another_job(uow, job_id), another_job(uow, job_id)]

        for number, version_id in enumerate((None, production, None)):
            set_alias(uow, AliasName.PRODUCTION, version_id)
            run_contour_job(able, jobs[number])

        found = [job_of(uow, job) for job in jobs]
        assert [job.state for job in found] == [JobState.SUCCEEDED] * 3
        names = [job.model_version for job in found]
        assert names == ["test-network", "production", "test-network"]
        assert [job.model_version_id for job in found] == [None, production, None]
        sha256 = version_of(uow, production).weights_sha256
        assert found[1].weights_sha256 == sha256
        path = able.storage.file(StoredKind.RESULTS, jobs[1], RTSTRUCT_NAME)
        assert software_of(path)[1:] == ["model production", f"weights sha256 {sha256[:32]}"]

    @pytest.mark.parametrize("code", ["stored_files_missing", "weights_changed"])
    def test_files_that_are_not_right_fail_the_job(
        self,
        able: WorkerContext,
        uow: UnitOfWork,
        job_id: UUID,
        production: UUID,
        storage: FilesystemStorage,
        code: str,
    ) -> None:
        set_alias(uow, AliasName.PRODUCTION, production)
        path = storage.file(StoredKind.MODEL_VERSIONS, production, WEIGHTS_NAME)
        if code == "weights_changed":
            path.write_bytes(b"others")
        else:
            path.unlink()

        run_contour_job(able, job_id)

        job = job_of(uow, job_id)
        assert (job.state, job.error_code) == (JobState.FAILED, code)
        with pytest.raises(StoredFilesMissingError):
            storage.folder(StoredKind.RESULTS, job_id)

    def test_a_worker_starts_with_it(
        self, able: WorkerContext, uow: UnitOfWork, production: UUID
    ) -> None:
        set_alias(uow, AliasName.PRODUCTION, production)

        load_production(able)

        assert list(able.networks.loaded) == [production]

    def test_a_worker_starts_though_it_is_broken_and_serves_what_is_rolled_back_to(
        self, able: WorkerContext, uow: UnitOfWork, job_id: UUID, production: UUID
    ) -> None:
        set_alias(uow, AliasName.PRODUCTION, production)
        able.storage.delete(StoredKind.MODEL_VERSIONS, production)

        load_production(able)
        set_alias(uow, AliasName.PRODUCTION, None)
        run_contour_job(able, job_id)

        assert job_of(uow, job_id).state is JobState.SUCCEEDED

    def test_a_worker_without_the_weights_of_its_settings_does_not_start(
        self, worker: WorkerContext
    ) -> None:
        def refuse(_: object):
            raise WeightsUnusableError("a test")

        broken = NetworkCache(worker.networks.options, refuse, worker.storage)

        with pytest.raises(WeightsUnusableError):
            load_production(replace(worker, networks=broken))


class TestHeartbeat:
    def test_it_shows_production_and_never_the_shadow(
        self,
        able: WorkerContext,
        uow: UnitOfWork,
        job_id: UUID,
        production: UUID,
        shadow: UUID,
    ) -> None:
        def shown() -> str | None:
            report_worker(able)
            with uow:
                return uow.workers.seen_within(60)[0].model_version

        set_alias(uow, AliasName.PRODUCTION, production)
        run_contour_job(able, job_id)
        run_shadow(able, uow, shadow)

        assert shown() == "production"
        set_alias(uow, AliasName.PRODUCTION, None)
        assert shown() == "production"  # what is in memory until a job asks for another
        run_contour_job(able, another_job(uow, job_id))
        assert shown() == "test-network"


class TestShadow:
    def test_a_job_that_succeeded_is_queued_for_the_shadow(
        self,
        able: WorkerContext,
        uow: UnitOfWork,
        job_id: UUID,
        shadow: UUID,
        job_queue: FakeJobQueue,
    ) -> None:
        run_contour_job(able, job_id)

        (row,) = shadows(uow, shadow)
        assert (row.state, row.job_id, row.correlation_id) == (JobState.QUEUED, job_id, "request-1")
        (message,) = job_queue.messages
        assert (message.task, message.resource_id) == (TaskName.SHADOW_CONTOUR_RUN, row.id)

    def test_it_is_compared_with_what_was_released(
        self, able: WorkerContext, uow: UnitOfWork, job_id: UUID, shadow: UUID
    ) -> None:
        run_contour_job(able, job_id)
        released = able.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME).read_bytes()

        row = run_shadow(able, uow, shadow)

        assert row.state is JobState.SUCCEEDED, row.error_detail
        assert row.scores is not None
        # boxes of 3 slices, 4 rows and 8 columns of 1 x 1 mm, 3 mm apart: 6 of 8 columns overlap
        box_ml = 3 * 4 * 8 * 3 / 1000
        assert row.scores["Bladder"] == {
            "dice": pytest.approx(0.75),
            "hd95_mm": pytest.approx(2.0),
            "assd_mm": row.scores["Bladder"]["assd_mm"],
            "surface_dice_2mm": pytest.approx(1.0),
            "released_ml": pytest.approx(box_ml),
            "shadow_ml": pytest.approx(box_ml),
            "empty": None,
        }
        rectum = row.scores["Rectum"]
        assert (rectum["dice"], rectum["hd95_mm"], rectum["empty"]) == (0.0, None, "shadow")
        assert "NaN" not in json.dumps(row.scores)
        assert row.weights_sha256 == version_of(uow, shadow).weights_sha256
        path = able.storage.file(StoredKind.SHADOW_RESULTS, row.id, RTSTRUCT_NAME)
        assert software_of(path)[1] == "model shadow"
        kept = able.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME).read_bytes()
        assert hashlib.sha256(kept).digest() == hashlib.sha256(released).digest()

    def test_a_failed_job_has_none(
        self, able: WorkerContext, uow: UnitOfWork, job_id: UUID, shadow: UUID
    ) -> None:
        able.storage.delete(StoredKind.SERIES, job_of(uow, job_id).series_id)

        run_contour_job(able, job_id)

        assert shadows(uow, shadow) == []

    def test_the_version_that_contoured_the_job_does_not_do_so_again(
        self, able: WorkerContext, uow: UnitOfWork, job_id: UUID, shadow: UUID
    ) -> None:
        set_alias(uow, AliasName.PRODUCTION, shadow)

        run_contour_job(able, job_id)

        assert shadows(uow, shadow) == []

    def test_the_shadow_s_version_is_that_of_the_job_s_end(
        self, able: WorkerContext, uow: UnitOfWork, job_id: UUID, shadow: UUID
    ) -> None:
        run_contour_job(able, job_id)
        set_alias(uow, AliasName.SHADOW, None)

        assert run_shadow(able, uow, shadow).state is JobState.SUCCEEDED


class TestPurging:
    def test_its_contours_go_with_the_job_s(
        self, able: WorkerContext, uow: UnitOfWork, job_id: UUID, shadow: UUID, clock: Clock
    ) -> None:
        run_contour_job(able, job_id)
        row = run_shadow(able, uow, shadow)
        clock.advance(days=1)

        purge_results(uow, able.storage, clock())

        (purged,) = shadows(uow, shadow)
        assert purged.purged_at is not None
        assert purged.scores == row.scores
        with pytest.raises(StoredFilesMissingError):
            able.storage.folder(StoredKind.SHADOW_RESULTS, row.id)

    def test_a_queued_one_ends_when_its_series_is_deleted(
        self, able: WorkerContext, uow: UnitOfWork, job_id: UUID, shadow: UUID
    ) -> None:
        run_contour_job(able, job_id)
        SeriesService(able.unit_of_work, able.storage).delete(job_of(uow, job_id).series_id)

        row = run_shadow(able, uow, shadow)

        assert row.state is JobState.CANCELLED

    def test_a_deleted_series_takes_its_shadows_along(
        self, able: WorkerContext, uow: UnitOfWork, job_id: UUID, shadow: UUID
    ) -> None:
        run_contour_job(able, job_id)
        row = run_shadow(able, uow, shadow)

        SeriesService(able.unit_of_work, able.storage).delete(job_of(uow, job_id).series_id)

        with pytest.raises(StoredFilesMissingError):
            able.storage.folder(StoredKind.SHADOW_RESULTS, row.id)

    def test_a_result_that_goes_while_it_is_contoured_leaves_no_files(
        self, able: WorkerContext, uow: UnitOfWork, job_id: UUID, shadow: UUID, clock: Clock
    ) -> None:
        class Purging(ScriptedPredictor):
            def predict(self, volume: Volume, on_progress) -> BoxPrediction:
                on_progress(0.5)
                with able.unit_of_work() as other:
                    assert other.contour_jobs.purge(job_id)
                    other.commit()
                return predict_boxes(volume)

        run_contour_job(able, job_id)
        load = loader_by_name(ScriptedPredictor(), shadow=Purging())
        networks = NetworkCache(able.networks.options, load, able.storage)

        row = run_shadow(replace(able, networks=networks), uow, shadow)

        assert (row.state, row.error_code) == (JobState.FAILED, "result_purged")
        with pytest.raises(StoredFilesMissingError):
            able.storage.folder(StoredKind.SHADOW_RESULTS, row.id)

    def test_its_job_is_locked_before_it_as_purging_locks_them(
        self, able: WorkerContext, uow: UnitOfWork, job_id: UUID, shadow: UUID
    ) -> None:
        """Where rows are locked, the opposite order would have both wait for each other."""
        run_contour_job(able, job_id)
        # The lease's own thread would be heard in between.
        able = replace(able, times=replace(able.times, heartbeat_seconds=3600.0))
        transactions: list[list[str]] = [[]]

        @event.listens_for(able.engine, "before_cursor_execute")
        def note(_connection, _cursor, statement: str, *_: object) -> None:
            if statement.startswith("BEGIN"):
                transactions.append([])
            else:
                transactions[-1].append(statement)

        run_shadow(able, uow, shadow)

        (ending,) = [
            statements
            for statements in transactions
            if any(is_ending(statement) for statement in statements)
        ]
        assert [table_of(statement) for statement in ending][:2] == [
            "contour_job",
            "shadow_contour",
        ]
