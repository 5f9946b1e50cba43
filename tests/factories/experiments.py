"""Dataset versions, experiments and runs for tests."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from ml.config import RunConfig
from ml.data.dataset import open_dataset
from ml.data.phantom_dataset import case_id, write_phantom_dataset
from ml.data.splits import split_patients
from ml.data.version import describe_version
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec
from ml.planning.plan import plan_training
from ml.planning.recipes import PAPER_RECIPE, sized
from services.core.lifecycle import ExperimentKind, JobState
from services.core.tables.datasets import Dataset, DatasetVersion
from services.core.tables.experiments import Experiment, Run
from services.core.unit_of_work import UnitOfWork


def version_facts(training_slices: int = 400, **values: Any) -> dict[str, Any]:
    """What an index of a dataset with 5 : 2 : 1 patients notes."""
    parts = {
        name: {"patients": n, "cases": n, "slices": slices, "labelled_slices": slices // 2}
        for name, n, slices in (
            ("training", 5, training_slices),
            ("validation", 2, 160),
            ("test", 1, 80),
        )
    }
    return {"parts": parts, "lacking": []} | values


def add_dataset_version(uow: UnitOfWork, **values: Any) -> DatasetVersion:
    """A committed version; indexed, unless a test says otherwise."""
    defaults = {
        "number": 1,
        "request": {},
        "structure_set": "cervix",
        "facts": version_facts(),
        "content_sha256": "c" * 64,
        "state": JobState.SUCCEEDED,
        "correlation_id": "request-1",
        "max_attempts": 3,
    }
    with uow:
        dataset = Dataset(name=f"dataset {uuid4()}", created_at=uow._now())
        uow._session.add(dataset)
        uow._session.flush()
        version = DatasetVersion(
            dataset_id=dataset.id, created_at=uow._now(), **(defaults | values)
        )
        uow._session.add(version)
        uow.commit()
    return version


def add_run(uow: UnitOfWork, version_id: UUID, config: RunConfig, **values: Any) -> Run:
    """A committed queued run in an experiment of its own."""
    planned = plan_training(config, [values.pop("seed", 0)])[0]
    with uow:
        experiment = Experiment(
            kind=ExperimentKind.TRAINING,
            name="training",
            dataset_version_id=version_id,
            request={},
            correlation_id="request-1",
        )
        uow.experiments.add(experiment)
        defaults = {
            "experiment_id": experiment.id,
            "position": 0,
            "label": planned.label,
            "seed": planned.seed,
            "config": planned.config.to_dict(),
            "max_epochs": planned.config.training.max_epochs,
            "correlation_id": "request-1",
            "max_attempts": 3,
        }
        run = Run(**(defaults | values))
        uow.runs.add_all([run])
        uow.commit()
    return run


def tiny_config(**settings: Any) -> RunConfig:
    """A run of seconds on tiny phantoms."""
    sizes = {"pixels": 32, "width": 0.125, "epochs": 2, "slices_per_epoch": 16} | settings
    return sized(PAPER_RECIPE, **sizes)


def write_tiny_dataset(folder: Path) -> dict[str, Any]:
    """Six tiny phantoms, split 4 : 1 : 1; the facts an index of them notes."""
    specs = [PhantomSpec(seed=seed, tier=PhantomTier.TINY) for seed in range(6)]
    dataset = write_phantom_dataset(folder, "tiny", specs, 1)
    dataset.with_split(split_patients([case_id(s) for s in specs], seed=0, proportions=(4, 1, 1)))
    return describe_version(open_dataset(folder)).to_dict()


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
