"""Runs that succeeded, model versions, and what is to be judged on; nothing is trained."""

import json
from pathlib import Path
from uuid import UUID, uuid4

from ml.checkpoint import save_checkpoint
from ml.config import RunConfig
from ml.data.dataset import LabelledCase, create_dataset, write_case
from ml.data.splits import Split
from ml.structures import CERVIX
from services.core.lifecycle import (
    AliasName,
    ExperimentKind,
    JobState,
    ModelVersionOrigin,
)
from services.core.storage import WEIGHTS_NAME, FilesystemStorage, StoredKind
from services.core.tables.datasets import Dataset, DatasetVersion
from services.core.tables.experiments import Experiment, Run
from services.core.tables.model_versions import ModelAliasChange, ModelVersion
from services.core.unit_of_work import UnitOfWork
from tests.factories.checkpoints import TINY_CONFIG, make_checkpoint
from tests.factories.phantoms import make_phantom

SEEDS = (7, 8)
"""Of the phantoms that are test cases."""

EVALUATION = {
    "minimum": {"mean_dice": None, "structures": {}},
    "evaluation_cases": 2,
    "margin": 0.05,
    "notes": None,
}


def write_weights(folder: Path, seed: int = 0, config: RunConfig = TINY_CONFIG) -> str:
    """Write weights and card as runs and versions have them; return the weights' sha256."""
    return save_checkpoint(make_checkpoint(seed, config), folder / WEIGHTS_NAME)


def rename_card(folder: Path, name: str) -> None:
    """Give the weights in a folder another name."""
    path = (folder / WEIGHTS_NAME).with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_version": name}))


def add_dataset_version(
    uow: UnitOfWork,
    storage: FilesystemStorage,
    *,
    has_test_cases: bool = True,
    state: JobState = JobState.SUCCEEDED,
) -> UUID:
    """A dataset version whose test cases are phantoms."""
    dataset = Dataset(id=uuid4(), name=uuid4().hex, created_at=uow._now())
    version = DatasetVersion(
        id=uuid4(),
        dataset_id=dataset.id,
        number=1,
        request={},
        structure_set="cervix",
        state=state,
        **work(uow),
    )
    add_rows(uow, dataset, version)
    names = [f"phantom-{seed}" for seed in SEEDS]
    split = Split(
        training=() if has_test_cases else tuple(names),
        validation=(),
        test=tuple(names) if has_test_cases else (),
        seed=0,
    )
    with storage.staging() as folder:
        written = create_dataset(folder, "phantoms", split=split)
        for seed, name in zip(SEEDS, names, strict=True):
            phantom = make_phantom(seed)
            case = LabelledCase(
                case_id=name, patient_id=name, volume=phantom.volume, labels=phantom.labels
            )
            write_case(written, case)
        storage.publish(StoredKind.DATASETS, folder, version.id)
    return version.id


def add_run(
    uow: UnitOfWork,
    storage: FilesystemStorage,
    dataset_version_id: UUID,
    *,
    seed: int = 0,
    state: JobState = JobState.SUCCEEDED,
    config: RunConfig = TINY_CONFIG,
    dice: float = 0.9,
) -> UUID:
    """A run with its files and scores, every structure found equally well."""
    experiment = Experiment(
        id=uuid4(),
        kind=ExperimentKind.TRAINING,
        name="a question",
        dataset_version_id=dataset_version_id,
        request={},
        correlation_id="request-1",
        created_at=uow._now(),
    )
    run_id = uuid4()
    with storage.staging() as folder:
        sha256 = write_weights(folder, seed, config)
        storage.publish(StoredKind.RUNS, folder, run_id)
    run = Run(
        id=run_id,
        experiment_id=experiment.id,
        position=0,
        label="lean",
        seed=seed,
        config=json.loads(json.dumps(config.to_dict())),
        max_epochs=3,
        test_dice=dice,
        mean_dice=0.91,
        validation_dice=dict.fromkeys(CERVIX.names, 0.91),
        weights_sha256=sha256,
        state=state,
        **work(uow),
    )
    add_rows(uow, experiment, run)
    with uow:
        uow.runs.replace_scores(run_id, [_score(name, dice) for name in CERVIX.names])
        uow.commit()
    return run_id


def add_version(
    uow: UnitOfWork,
    storage: FilesystemStorage,
    name: str = "candidate",
    *,
    seed: int = 0,
    state: JobState = JobState.SUCCEEDED,
) -> UUID:
    """A version with its files, as a worker leaves it."""
    version_id = uuid4()
    with storage.staging() as folder:
        sha256 = write_weights(folder, seed)
        rename_card(folder, name)
        storage.publish(StoredKind.MODEL_VERSIONS, folder, version_id)
    row = ModelVersion(
        id=version_id,
        name=name,
        origin=ModelVersionOrigin.IMPORT,
        request=EVALUATION,
        weights_sha256=sha256,
        structure_set="cervix",
        state=state,
        card={"model_version": name},
        checks={"checksum": {"ok": True}},
        **work(uow),
    )
    add_rows(uow, row)
    return version_id


def set_alias(uow: UnitOfWork, alias: AliasName, version_id: UUID | None) -> None:
    """Have an alias mean a version, whatever it meant."""
    with uow:
        change = ModelAliasChange(model_version_id=version_id, is_rollback=False)
        assert uow.model_aliases.change(uow.model_aliases.get(alias), change)
        uow.commit()


def version_of(uow: UnitOfWork, version_id: UUID) -> ModelVersion:
    """The version as it is in the database now."""
    with uow:
        return uow.model_versions.get(version_id)


def work(uow: UnitOfWork) -> dict:
    """What every leased row has."""
    return {"correlation_id": "request-1", "max_attempts": 3, "created_at": uow._now()}


def add_rows(uow: UnitOfWork, *rows: object) -> None:
    """Commit rows in their order."""
    with uow:
        for row in rows:
            uow._session.add(row)
            uow._session.flush()
        uow.commit()


def _score(structure: str, dice: float) -> dict:
    counts = ("slices_with_both", "true_positive_slices", "false_positive_slices")
    values = dict.fromkeys((*counts, "false_negative_slices", "true_negative_slices"), 1)
    named = {"part": "test", "case": "c", "patient": "p", "structure": structure, "dice": dice}
    return values | named
