"""One run of an experiment: trained where the start before stopped, scored, and kept."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import torch

from ml.checkpoint import CARD_SUFFIX, load_checkpoint
from ml.config import RunConfig
from ml.data.cases import cache_cases
from ml.data.dataset import Dataset, open_dataset
from ml.data.splits import Split
from ml.evaluation.evaluate import evaluate_dataset, predict_labels
from ml.evaluation.measures import DSC, mean_over_structures
from ml.evaluation.rows import CaseScore, RunLabel
from ml.experiments.execution import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    OUTCOME_FILE,
    RunData,
    RunStoppedError,
    execute_run,
)
from ml.inference.predictor import Predictor
from ml.planning.plan import PlannedRun
from ml.planning.ranking import RunOutcome
from ml.training.run_card import RUN_CARD_FILE
from services.core.errors import ServiceError
from services.core.lifecycle import JobErrorCode, JobStage
from services.core.repositories.leases import Claim
from services.core.storage import StoredKind
from services.core.tables.leased import Json
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.experiments import conclude_experiments
from services.worker.lease import Lease
from services.worker.leased_work import finish
from services.worker.networks import GpuOutOfMemoryError, require_device
from services.worker.numbers import finite_or_none, number_or_none
from services.worker.run_reporter import TRAINING_SHARE, RunReporter

TRAINING_FOLDER = "training"
"""Where ml.experiments.execution keeps the state and card of a run."""


class TrainingFailedError(ServiceError):
    """The run came to nothing; its data and settings are to blame, not the machine."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, kw_only=True, slots=True)
class _Assignment:
    """What a run is to learn from, and what it is scored on."""

    run: PlannedRun
    version_id: UUID
    restart_after: int


def train_run(worker: WorkerContext, claim: Claim, lease: Lease) -> None:
    """Train a run, score its weights and publish them.

    Raises:
        TrainingFailedError: the loss left the real numbers.
        GpuOutOfMemoryError: the device cannot hold a batch.
        StoredFilesMissingError: the dataset version's files are gone.
        JobCancelledError, LeaseLostError: the run is no longer wanted here.
    """
    options = worker.networks.options
    require_device(options.device)
    if options.thread_count is not None:
        torch.set_num_threads(options.thread_count)
    assigned = _read(worker, claim)
    dataset = open_dataset(worker.storage.folder(StoredKind.DATASETS, assigned.version_id))
    split = _split_of(dataset)
    data = RunData(
        dataset=dataset,
        training=tuple(dataset.case_ids(split.training)),
        validation=tuple(dataset.case_ids(split.validation)),
        crops=worker.storage.crops_folder(assigned.version_id),
        device=options.device,
    )
    workspace = worker.storage.workspace(
        claim.resource_id, claim.fencing_token, after=assigned.restart_after
    )
    try:
        _make_crops(assigned.run.config, data, lease)
        outcome = _train(worker, claim, lease, (assigned.run, data, workspace))
        scores = _score(worker, lease, dataset, split, workspace / CHECKPOINT_FILE)
    except torch.OutOfMemoryError as error:
        raise GpuOutOfMemoryError(assigned.run.config.training.batch_size) from error
    with worker.storage.staging() as folder:
        _collect(workspace, folder)
        finish(
            worker,
            claim,
            _columns(worker, outcome, scores, folder),
            lambda uow: _publish(worker, claim, uow, folder, scores),
        )
    worker.storage.delete(StoredKind.WORKSPACES, claim.resource_id)
    conclude_experiments(worker)


def _read(worker: WorkerContext, claim: Claim) -> _Assignment:
    with worker.unit_of_work() as uow:
        run = uow.runs.get(claim.resource_id)
        experiment = uow.experiments.get(run.experiment_id)
    return _Assignment(
        run=PlannedRun(label=run.label, config=RunConfig.from_dict(run.config)),
        version_id=experiment.dataset_version_id,
        restart_after=run.restart_after,
    )


def _split_of(dataset: Dataset) -> Split:
    if dataset.split is None:
        raise TrainingFailedError("dataset_not_ready", "the dataset version has no split")
    return dataset.split


def _make_crops(config: RunConfig, data: RunData, lease: Lease) -> None:
    def report(made: int, missing: int) -> None:
        lease.report(JobStage.READING, TRAINING_SHARE[0] * made / missing)

    case_ids = (*data.training, *data.validation)
    cache_cases(data.dataset, case_ids, config.preprocessing, data.crops, on_made=report)


def _train(
    worker: WorkerContext, claim: Claim, lease: Lease, work: tuple[PlannedRun, RunData, Path]
) -> RunOutcome:
    run, data, workspace = work
    lease.report(JobStage.TRAINING, TRAINING_SHARE[0])
    reporter = RunReporter(worker, claim, lease, run.config.training.max_epochs)
    try:
        outcome = execute_run(run, data, workspace, reporter)
    except RunStoppedError:
        lease.check()  # says why
        raise
    if outcome.failure is not None:
        code = outcome.failure_code or JobErrorCode.INTERNAL_ERROR
        raise TrainingFailedError(code, outcome.failure)
    return outcome


def _score(
    worker: WorkerContext, lease: Lease, dataset: Dataset, split: Split, checkpoint: Path
) -> list[CaseScore]:
    """Score the test cases, or the validation cases where there is none."""
    part = "test" if split.test else "validation"
    case_ids = dataset.case_ids(getattr(split, part))
    options = worker.networks.options
    predictor = Predictor(
        load_checkpoint(checkpoint), device=options.device, thread_count=options.thread_count
    )
    predict, label = predict_labels(predictor), RunLabel(part=part)
    rows: list[CaseScore] = []
    for number, case_id in enumerate(case_ids):
        done = number / len(case_ids)
        lease.report(JobStage.SCORING, TRAINING_SHARE[1] + done * (1 - TRAINING_SHARE[1]))
        rows += evaluate_dataset(predict, dataset, [case_id], label)
    lease.check()
    return rows


def _collect(workspace: Path, folder: Path) -> None:
    """Bring what is kept of a run into a folder; the state it could go on from is not."""
    checkpoint = workspace / CHECKPOINT_FILE
    kept = (
        checkpoint,
        checkpoint.with_suffix(CARD_SUFFIX),
        workspace / CONFIG_FILE,
        workspace / OUTCOME_FILE,
        workspace / TRAINING_FOLDER / RUN_CARD_FILE,
    )
    for path in kept:
        shutil.copy(path, folder / path.name)


def _columns(
    worker: WorkerContext, outcome: RunOutcome, scores: Sequence[CaseScore], folder: Path
) -> Json:
    checkpoint = load_checkpoint(folder / CHECKPOINT_FILE)
    tested = [row for row in scores if row.part == "test"]
    dice = {name: finite_or_none(value) for name, value in outcome.validation_dice.items()}
    return {
        "validation_loss": finite_or_none(outcome.validation_loss),
        "validation_dice": dice,
        "mean_dice": finite_or_none(outcome.mean_dice),
        "test_dice": finite_or_none(mean_over_structures(tested, DSC)) if tested else None,
        "weights_sha256": checkpoint.sha256,
        "card": asdict(checkpoint.card),
        "device": worker.networks.options.device,
        "software_version": worker.software_version,
    }


def _publish(
    worker: WorkerContext,
    claim: Claim,
    uow: UnitOfWork,
    folder: Path,
    scores: Sequence[CaseScore],
) -> None:
    uow.runs.replace_scores(claim.resource_id, [_score_columns(row) for row in scores])
    worker.storage.publish(StoredKind.RUNS, folder, claim.resource_id)


def _score_columns(row: CaseScore) -> dict[str, Any]:  # Any: columns of several types
    values = asdict(row)
    del values["run"], values["seed"]  # the row of the run has them
    return {
        name: number_or_none(value) if isinstance(value, float) else value
        for name, value in values.items()
    }
