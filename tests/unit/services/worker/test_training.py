"""A run is trained, scored and published; what stops it loses no finished epoch."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import torch

from ml.checkpoint import load_checkpoint
from ml.config import RunConfig
from services.core.lifecycle import ExperimentState, JobState
from services.core.queue import QueueName, TaskName
from services.core.repositories.leases import Claim
from services.core.storage import FilesystemStorage, StoredKind
from services.core.tables.experiments import Run
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.experiments import conclude_experiments
from services.worker.housekeeping import purge_workspaces, remove_orphans
from services.worker.run_reporter import RunReporter
from tests.factories.experiments import (
    add_dataset_version,
    add_run,
    tiny_config,
    write_tiny_dataset,
)
from tests.factories.workers import run_task
from tests.fakes import FakeJobQueue


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("dataset") / "tiny"
    return folder, write_tiny_dataset(folder)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def trainer(worker: WorkerContext) -> WorkerContext:
    return dataclasses.replace(worker, queues=frozenset({QueueName.TRAINING}))


@pytest.fixture
def version_id(
    uow: UnitOfWork, storage: FilesystemStorage, tiny_dataset: tuple[Path, dict[str, Any]]
) -> UUID:
    folder, facts = tiny_dataset
    version = add_dataset_version(uow, facts=facts)
    with storage.staging() as staged:
        shutil.copytree(folder, staged, dirs_exist_ok=True)
        storage.publish(StoredKind.DATASETS, staged, version.id)
    return version.id


def run_of(uow: UnitOfWork, run_id: UUID) -> Run:
    with uow:
        return uow.runs.get(run_id)


def epochs_of(uow: UnitOfWork, run_id: UUID) -> list[tuple[Any, ...]]:
    """Every number of every epoch but the seconds."""
    with uow:
        epochs = uow.runs.epochs([run_id])
    return [
        (e.epoch, e.training_loss, e.validation_loss, e.validation_dice, e.learning_rate, e.is_best)
        for e in epochs
    ]


def train(worker: WorkerContext, run_id: UUID) -> None:
    run_task(worker, TaskName.RUN_TRAIN, run_id)


class DiesAt:
    """Kills the work of a process, as far as one process can: nothing after the moment happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int) -> None:
        original = RunReporter.batch_finished

        def batch_finished(reporter: RunReporter, done: int, total: int, loss: float) -> None:
            original(reporter, done, total, loss)
            if (reporter._finished + 1, done) == (epoch, batch):
                raise KeyboardInterrupt  # no handler of the work catches it

        self._patch = monkeypatch
        monkeypatch.setattr(RunReporter, "batch_finished", batch_finished)

    def lives_on(self) -> None:
        self._patch.undo()


class TestSuccess:
    def test_a_run_ends_with_weights_epochs_and_scores(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        version_id: UUID,
        job_queue: FakeJobQueue,
    ) -> None:
        run = add_run(uow, version_id, tiny_config())

        train(trainer, run.id)

        found = run_of(uow, run.id)
        assert (found.state, found.error_detail) == (JobState.SUCCEEDED, None)
        assert (found.epochs, found.progress) == (2, 1.0)
        assert [epoch[0] for epoch in epochs_of(uow, run.id)] == [1, 2]
        assert found.mean_dice is not None
        assert found.test_dice is not None
        assert found.validation_dice is not None
        assert found.card is not None
        assert found.card["data"]["training"] == 4
        folder = storage.folder(StoredKind.RUNS, run.id)
        checkpoint = load_checkpoint(folder / "checkpoint.safetensors")
        assert checkpoint.sha256 == found.weights_sha256
        assert (
            RunConfig.from_dict(json.loads((folder / "config.json").read_text())) == tiny_config()
        )
        assert storage.list_stored(StoredKind.WORKSPACES, 0) == []
        with uow:
            scores = uow.runs.score_page(run.id, 100)
        assert [(s.part, s.structure) for s in scores] == [
            ("test", name) for name in ("CTV-N", "CTV-UV", "Bladder", "Rectum")
        ]

    def test_the_last_run_asks_for_the_report(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        version_id: UUID,
        job_queue: FakeJobQueue,
    ) -> None:
        run = add_run(uow, version_id, tiny_config(epochs=1))
        sibling = add_run(
            uow, version_id, tiny_config(epochs=1), experiment_id=run.experiment_id, position=1
        )

        train(trainer, run.id)
        with uow:
            assert uow.experiments.get(run.experiment_id).state is ExperimentState.RUNNING
        train(trainer, sibling.id)

        with uow:
            experiment = uow.experiments.get(run.experiment_id)
            reports = uow.reports.page(9, experiment_id=run.experiment_id)
        assert experiment.state is ExperimentState.FINISHED
        assert len(reports) == 1
        sent = [m for m in job_queue.messages if m.task is TaskName.REPORT_WRITE]
        assert [message.resource_id for message in sent] == [reports[0].id]

    def test_the_report_shows_the_run(
        self, trainer: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage, version_id: UUID
    ) -> None:
        run = add_run(uow, version_id, tiny_config(epochs=1))
        train(trainer, run.id)
        with uow:
            report = uow.reports.page(1, experiment_id=run.experiment_id)[0]

        run_task(trainer, TaskName.REPORT_WRITE, report.id)

        with uow:
            report = uow.reports.get(report.id)
        assert (report.state, report.error_detail) == (JobState.SUCCEEDED, None)
        assert report.file_names is not None
        assert {"report.html", "report.md", "summary.json", "rows.csv", "epochs.csv"} <= set(
            report.file_names
        )
        assert any(name.endswith(".png") for name in report.file_names)
        assert report.summary is not None
        page = storage.file(StoredKind.REPORTS, report.id, "report.html").read_text()
        assert "training" in page

    def test_without_test_cases_validation_cases_are_scored(
        self, trainer: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage, version_id: UUID
    ) -> None:
        path = storage.folder(StoredKind.DATASETS, version_id) / "dataset.json"
        values = json.loads(path.read_text())
        values["split"]["test"] = []
        path.write_text(json.dumps(values))
        run = add_run(uow, version_id, tiny_config(epochs=1))

        train(trainer, run.id)

        with uow:
            scores = uow.runs.score_page(run.id, 100)
        assert {score.part for score in scores} == {"validation"}
        assert run_of(uow, run.id).test_dice is None

    def test_a_budget_of_time_ends_the_run_with_its_best_weights(
        self, trainer: WorkerContext, uow: UnitOfWork, version_id: UUID
    ) -> None:
        config = tiny_config(epochs=50)
        config = dataclasses.replace(
            config, training=dataclasses.replace(config.training, max_seconds=1e-6)
        )
        run = add_run(uow, version_id, config)

        train(trainer, run.id)

        found = run_of(uow, run.id)
        assert (found.state, found.epochs) == (JobState.SUCCEEDED, 1)


class TestInterruption:
    def test_a_killed_run_goes_on_and_ends_bit_by_bit_like_an_undisturbed_one(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        version_id: UUID,
        clock: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        calm = add_run(uow, version_id, tiny_config(epochs=3))
        train(trainer, calm.id)
        hit = add_run(uow, version_id, tiny_config(epochs=3))
        death = DiesAt(monkeypatch, epoch=2, batch=1)
        with pytest.raises(KeyboardInterrupt):
            train(trainer, hit.id)
        death.lives_on()
        assert run_of(uow, hit.id).epochs == 1
        clock.advance(seconds=61)
        with uow:
            assert uow.leases.reap(TaskName.RUN_TRAIN).requeued == (hit.id,)
            uow.commit()

        train(trainer, hit.id)

        found, expected = run_of(uow, hit.id), run_of(uow, calm.id)
        assert (found.state, found.attempt) == (JobState.SUCCEEDED, 2)
        assert found.weights_sha256 == expected.weights_sha256
        assert found.validation_dice == expected.validation_dice
        assert epochs_of(uow, hit.id) == epochs_of(uow, calm.id)
        assert len(epochs_of(uow, hit.id)) == 3

    def test_a_worker_frozen_past_its_lease_writes_nothing_into_the_run(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        version_id: UUID,
        clock: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # a frozen process does not beat
        times = dataclasses.replace(trainer.times, heartbeat_seconds=1000)
        trainer = dataclasses.replace(trainer, times=times)
        run = add_run(uow, version_id, tiny_config(epochs=2))
        original = RunReporter.epoch_finished
        taken_over: list[Claim] = []

        def epoch_finished(reporter: RunReporter, report: Any) -> None:
            if not taken_over:
                clock.advance(seconds=10**6)
                with uow:
                    uow.leases.reap(TaskName.RUN_TRAIN)
                    claim = uow.leases.claim(
                        TaskName.RUN_TRAIN, run.id, owner="other", seconds=10**6
                    )
                    assert claim is not None
                    taken_over.append(claim)
                    uow.commit()
            original(reporter, report)

        monkeypatch.setattr(RunReporter, "epoch_finished", epoch_finished)

        train(trainer, run.id)

        assert epochs_of(uow, run.id) == []
        found = run_of(uow, run.id)
        assert (found.state, found.fencing_token) == (JobState.RUNNING, 2)
        assert found.lease_owner == "other"

    def test_a_cancel_ends_an_epoch_after_the_batch_and_keeps_the_last_one(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        version_id: UUID,
        unit_of_work: Callable[[], UnitOfWork],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        run = add_run(uow, version_id, tiny_config(epochs=3, slices_per_epoch=64))
        original = RunReporter.batch_finished
        batches: list[int] = []

        def batch_finished(reporter: RunReporter, done: int, total: int, loss: float) -> None:
            original(reporter, done, total, loss)
            if reporter._finished == 1:
                batches.append(done)
                with unit_of_work() as other:
                    other.leases.request_cancel(TaskName.RUN_TRAIN, run.id)
                    other.commit()
                reporter._lease._beat()  # what the heartbeat does within its second

        monkeypatch.setattr(RunReporter, "batch_finished", batch_finished)

        train(trainer, run.id)

        assert batches == [1]
        assert run_of(uow, run.id).state is JobState.CANCELLED
        assert len(epochs_of(uow, run.id)) == 1

        monkeypatch.undo()
        with uow:
            uow.runs.requeue(run.id, from_the_start=False, max_attempts=3)
            uow.commit()
        train(trainer, run.id)
        assert run_of(uow, run.id).state is JobState.SUCCEEDED
        assert len(epochs_of(uow, run.id)) == 3

    def test_a_retried_run_begins_with_its_first_epoch(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        version_id: UUID,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        run = add_run(uow, version_id, tiny_config(epochs=2))
        death = DiesAt(monkeypatch, epoch=2, batch=1)
        with pytest.raises(KeyboardInterrupt):
            train(trainer, run.id)
        death.lives_on()
        with uow:
            uow.leases.request_cancel(TaskName.RUN_TRAIN, run.id)
            row = uow.runs.get(run.id)
            row.state = JobState.CANCELLED
            uow.commit()
            uow.runs.requeue(run.id, from_the_start=True, max_attempts=3)
            uow.commit()
        reported: list[int] = []
        original = RunReporter.epoch_finished

        def epoch_finished(reporter: RunReporter, report: Any) -> None:
            reported.append(report.epoch)
            original(reporter, report)

        monkeypatch.setattr(RunReporter, "epoch_finished", epoch_finished)

        train(trainer, run.id)

        assert reported == [1, 2]

    def test_epochs_give_a_run_its_starts_back(
        self, trainer: WorkerContext, uow: UnitOfWork, version_id: UUID
    ) -> None:
        run = add_run(uow, version_id, tiny_config(), max_attempts=1)

        train(trainer, run.id)

        assert run_of(uow, run.id).max_attempts == 3


class TestFailure:
    def test_a_loss_that_is_no_number_fails_the_run_and_leaves_its_siblings(
        self, trainer: WorkerContext, uow: UnitOfWork, version_id: UUID, storage: FilesystemStorage
    ) -> None:
        config = tiny_config(epochs=1)
        bad = dataclasses.replace(
            config, training=dataclasses.replace(config.training, learning_rate=1e30)
        )
        run = add_run(uow, version_id, bad)
        sibling = add_run(uow, version_id, config, experiment_id=run.experiment_id, position=1)

        train(trainer, run.id)
        train(trainer, sibling.id)

        found = run_of(uow, run.id)
        assert (found.state, found.error_code) == (JobState.FAILED, "non_finite_loss")
        assert run_of(uow, sibling.id).state is JobState.SUCCEEDED
        assert storage.list_stored(StoredKind.RUNS, 0) == [sibling.id]
        with uow:
            assert uow.experiments.get(run.experiment_id).state is ExperimentState.FINISHED

    def test_cases_that_are_gone_fail_the_run(
        self, trainer: WorkerContext, uow: UnitOfWork, version_id: UUID, storage: FilesystemStorage
    ) -> None:
        storage.delete(StoredKind.DATASETS, version_id)
        run = add_run(uow, version_id, tiny_config())

        train(trainer, run.id)

        found = run_of(uow, run.id)
        assert (found.state, found.error_code) == (JobState.FAILED, "stored_files_missing")

    def test_an_experiment_without_a_success_ends_without_a_report(
        self, trainer: WorkerContext, uow: UnitOfWork, version_id: UUID, storage: FilesystemStorage
    ) -> None:
        storage.delete(StoredKind.DATASETS, version_id)
        run = add_run(uow, version_id, tiny_config())
        train(trainer, run.id)

        conclude_experiments(trainer)

        with uow:
            assert uow.experiments.get(run.experiment_id).state is ExperimentState.FINISHED
            assert uow.reports.page(1) == []


class TestClearingUp:
    def test_what_an_old_failed_run_could_go_on_from_is_removed(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        version_id: UUID,
        storage: FilesystemStorage,
        clock: Any,
    ) -> None:
        failed, running = (add_run(uow, version_id, tiny_config()) for _ in range(2))
        for run in (failed, running):
            with uow:
                claim = uow.leases.claim(TaskName.RUN_TRAIN, run.id, owner="w", seconds=10**8)
                assert claim is not None
                if run is failed:
                    uow.leases.fail(claim, code="x", detail="x", context={})
                uow.commit()
            storage.workspace(run.id, 1)

        purge_workspaces(uow, storage, clock())
        assert set(storage.list_stored(StoredKind.WORKSPACES, 0)) == {failed.id, running.id}
        clock.advance(days=1)
        purge_workspaces(uow, storage, clock())

        assert storage.list_stored(StoredKind.WORKSPACES, 0) == [running.id]

    def test_files_of_runs_and_reports_nobody_knows_are_removed(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        version_id: UUID,
        storage: FilesystemStorage,
    ) -> None:
        run = add_run(uow, version_id, tiny_config(epochs=1))
        train(trainer, run.id)
        storage.workspace(run.id, 1)  # left by a worker that died right after its commit
        waiting = add_run(uow, version_id, tiny_config())
        storage.workspace(waiting.id, 1)
        for kind in (StoredKind.RUNS, StoredKind.REPORTS):
            with storage.staging() as folder:
                storage.publish(kind, folder, uuid4())

        remove_orphans(uow, storage, 0)

        assert storage.list_stored(StoredKind.RUNS, 0) == [run.id]
        assert storage.list_stored(StoredKind.REPORTS, 0) == []
        assert storage.list_stored(StoredKind.WORKSPACES, 0) == [waiting.id]
