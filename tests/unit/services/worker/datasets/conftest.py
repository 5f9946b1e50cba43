"""Four patients in a mounted folder, and a worker that sees it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from ml.data.importing import run as importing
from services.core.queue import TaskName
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from tests.factories.datasets import add_dataset, add_folder, queue_version
from tests.factories.imports import write_dicom_case
from tests.factories.workers import run_task


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    return tmp_path / "mount"


@pytest.fixture
def worker(worker: WorkerContext, mount: Path) -> WorkerContext:
    return replace(worker, datasets_dir=mount)


@pytest.fixture(scope="session")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four patients, p1 to p4, made once; copy them."""
    folder = tmp_path_factory.mktemp("patients")
    for number in (1, 2, 3, 4):
        write_dicom_case(folder / f"p{number}", number=number)
    return folder


@pytest.fixture
def dataset_id(uow: UnitOfWork, mount: Path, patients: Path) -> UUID:
    """A dataset of four mounted patients."""
    shutil.copytree(patients, mount / "clinic")
    dataset_id = add_dataset(uow)
    add_folder(uow, dataset_id, "clinic")
    return dataset_id


@pytest.fixture
def index(worker: WorkerContext, uow: UnitOfWork) -> Callable[..., UUID]:
    """Make a version of a dataset and return its id; changes go into its request."""

    def queue_and_run(dataset_id: UUID, **changes: object) -> UUID:
        version_id = queue_version(uow, dataset_id, **changes)
        run_task(worker, TaskName.DATASET_VERSION_INDEX, version_id)
        return version_id

    return queue_and_run


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the cases whose contours and pixels were read."""
    names: list[str] = []
    read = importing.read_dicom_case

    def read_and_note(candidate, settings):
        names.append(candidate.name)
        return read(candidate, settings)

    monkeypatch.setattr(importing, "read_dicom_case", read_and_note)
    return names
