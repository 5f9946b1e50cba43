"""Model versions to check, and workers that check them."""

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec
from services.core.errors import StoredFilesMissingError
from services.core.lifecycle import ModelVersionOrigin
from services.core.queue import TaskName
from services.core.storage import FilesystemStorage, StoredKind
from services.core.tables.model_versions import ModelVersion
from services.core.unit_of_work import UnitOfWork
from services.worker import model_checks
from services.worker.context import WorkerContext
from services.worker.network_cache import NetworkCache
from services.worker.networks import NetworkLoader
from tests.factories.model_versions import (
    EVALUATION,
    SEEDS,
    add_dataset_version,
    add_rows,
    add_run,
    version_of,
    work,
    write_weights,
)
from tests.factories.phantoms import make_phantom
from tests.factories.workers import run_task
from tests.fakes import KnowingPredictor

TINY_PHANTOM = PhantomSpec(seed=model_checks.PHANTOM.seed, tier=PhantomTier.TINY)


def knowing(share: float) -> KnowingPredictor:
    phantoms = [make_phantom(seed) for seed in (*SEEDS, TINY_PHANTOM.seed)]
    return KnowingPredictor([(p.volume, p.labels) for p in phantoms], share)


def serving(worker: WorkerContext, load: NetworkLoader) -> WorkerContext:
    return replace(worker, networks=NetworkCache(worker.networks.options, load, worker.storage))


def add_promotion(
    uow: UnitOfWork, storage: FilesystemStorage, *, has_test_cases: bool = True, **request
) -> UUID:
    """A queued version of a run."""
    dataset_version_id = add_dataset_version(uow, storage, has_test_cases=has_test_cases)
    run_id = add_run(uow, storage, dataset_version_id)
    with uow:
        weights_sha256 = uow.runs.get(run_id).weights_sha256
    row = ModelVersion(
        id=uuid4(),
        name="candidate",
        origin=ModelVersionOrigin.RUN,
        run_id=run_id,
        dataset_version_id=dataset_version_id,
        request=EVALUATION | request,
        weights_sha256=weights_sha256,
        structure_set="cervix",
        **work(uow),
    )
    add_rows(uow, row)
    return row.id


def add_import(
    uow: UnitOfWork, storage: FilesystemStorage, *, dataset_version_id: UUID | None = None
) -> UUID:
    """A queued version whose files were sent."""
    version_id = uuid4()
    with storage.staging() as folder:
        weights_sha256 = write_weights(folder)
        storage.publish(StoredKind.MODEL_UPLOADS, folder, version_id)
    row = ModelVersion(
        id=version_id,
        name="candidate",
        origin=ModelVersionOrigin.IMPORT,
        dataset_version_id=dataset_version_id,
        request=EVALUATION,
        weights_sha256=weights_sha256,
        structure_set="cervix",
        **work(uow),
    )
    add_rows(uow, row)
    return version_id


def run_check(worker: WorkerContext, uow: UnitOfWork, version_id: UUID) -> ModelVersion:
    run_task(worker, TaskName.MODEL_VERSION_CHECK, version_id)
    return version_of(uow, version_id)


def assert_no_files(storage: FilesystemStorage, version_id: UUID) -> None:
    for kind in (StoredKind.MODEL_VERSIONS, StoredKind.MODEL_UPLOADS):
        with pytest.raises(StoredFilesMissingError):
            storage.folder(kind, version_id)
