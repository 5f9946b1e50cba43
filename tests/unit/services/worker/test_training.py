"""A run is trained, scored, published and reported, or fails with its reason."""

import dataclasses
import json
from uuid import UUID

from ml.checkpoint import load_checkpoint
from ml.config import RunConfig
from services.core.lifecycle import ExperimentState, JobState
from services.core.queue import TaskName
from services.core.storage import FilesystemStorage, StoredKind
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.experiments import conclude_experiments
from tests.factories.experiments import add_run, epochs_of, run_of, tiny_config
from tests.factories.workers import run_task, train
from tests.fakes import FakeJobQueue


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
