"""A worker in this process: real rows and storage, a network that does what the test says."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
import torch

from services.core.queue import QueueName
from services.core.storage import FilesystemStorage, StoredKind, slice_name
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.network_cache import NetworkCache
from tests.factories.experiments import add_dataset_version, write_tiny_dataset
from tests.factories.rows import add_job
from tests.factories.uploads import encode, make_slice
from tests.factories.workers import OPTIONS, TIMES
from tests.fakes import ScriptedPredictor, loader_of


@pytest.fixture
def predictor() -> ScriptedPredictor:
    return ScriptedPredictor()


@pytest.fixture
def worker(
    engine: sa.Engine,
    storage: FilesystemStorage,
    predictor: ScriptedPredictor,
    unit_of_work: Callable[[], UnitOfWork],
) -> WorkerContext:
    return WorkerContext(
        name="inference@test",
        queues=frozenset({QueueName.INFERENCE}),
        engine=engine,
        storage=storage,
        networks=NetworkCache(OPTIONS, loader_of(predictor), storage),
        times=TIMES,
        software_version="0.0.0",
        datasets_dir=None,
        max_attempts=3,
        unit_of_work=unit_of_work,
    )


@pytest.fixture
def job_id(uow: UnitOfWork, storage: FilesystemStorage) -> UUID:
    """A queued job whose series is in storage."""
    job = add_job(uow)
    with storage.staging() as folder:
        for number in range(1, 4):
            (folder / slice_name(number)).write_bytes(encode(make_slice(number, 32)))
        storage.publish_once(StoredKind.SERIES, folder, job.series_id)
    return job.id


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("dataset") / "tiny"
    return folder, write_tiny_dataset(folder)


@pytest.fixture
def trainer(worker: WorkerContext) -> Iterator[WorkerContext]:
    """The worker as one for training; it sets the threads of this whole process."""
    threads = torch.get_num_threads()
    yield dataclasses.replace(worker, queues=frozenset({QueueName.TRAINING}))
    torch.set_num_threads(threads)


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
