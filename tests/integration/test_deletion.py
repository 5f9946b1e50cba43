"""A deletion that is killed at any step ends all the same, and nothing is left of what it named.

The process is a real one, killed by SIGKILL before or after every transaction and in the midst of
every removal of files; then a worker keeps house. Afterwards the bytes of every file, those of the
database's own files included, and all rows of all tables are searched.
"""

import json
import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from services.api.contour_jobs.service import ContourJobService
from services.api.dataset_versions.service import DatasetVersionService
from services.api.datasets.deletion import DatasetDeletionService
from services.api.edited_rtstructs.service import EditedRtstructService
from services.api.experiments.report_service import ReportService
from services.api.model_versions.transfer import TransferService
from services.api.series.service import SeriesService
from services.core import storage as storage_module
from services.core.audit import Action, ResourceKind
from services.core.audit_chain import entry_sha256, verify_chain
from services.core.database import Base, create_database_engine, create_sessions, utc_now
from services.core.migrations import upgrade_database
from services.core.repositories.audit import AuditFilter, stream_slices
from services.core.repositories.deletions import deletion_record
from services.core.storage import FilesystemStorage
from services.core.tables.audit import Deletion
from services.core.unit_of_work import UnitOfWork
from services.worker.clearing import complete_deletions
from tests.factories.planted import FOLDERS, Planted, plant
from tests.fakes import FakeJobQueue
from tests.integration.conftest import new_database
from tests.integration.deployment import Mode


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A database and a storage, both in one folder where the database is a file."""

    url: str
    folder: Path

    @property
    def storage(self) -> FilesystemStorage:
        return FilesystemStorage(self.folder / "data")

    def unit_of_work(self) -> tuple[sa.Engine, Callable[[], UnitOfWork]]:
        engine = create_database_engine(self.url)
        sessions = create_sessions(engine)
        return engine, lambda: UnitOfWork(sessions, FakeJobQueue())


@pytest.fixture(scope="module")
def place(
    mode: Mode, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Place]:
    """A place where nobody else keeps house."""
    folder = tmp_path_factory.mktemp("place")
    with new_database(mode, folder, request) as url:
        engine = create_database_engine(url)
        upgrade_database(engine)
        engine.dispose()
        yield Place(url=url, folder=folder)


def delete(place: Place, kind: ResourceKind, planted: Planted) -> Deletion:
    """What the route of a kind does."""
    engine, new = place.unit_of_work()
    one, storage = planted.ids[kind], place.storage
    datasets = DatasetDeletionService(new, storage)
    dataset_id = planted.ids[ResourceKind.DATASET]
    ways: dict[ResourceKind, Callable[[], Deletion]] = {
        ResourceKind.SERIES: lambda: SeriesService(new, storage).delete(one),
        ResourceKind.CONTOUR_JOB: lambda: ContourJobService(new, storage).delete(one),
        ResourceKind.EDITED_RTSTRUCT: lambda: EditedRtstructService(new, storage).delete(one),
        ResourceKind.DATASET: lambda: datasets.delete(one),
        ResourceKind.DATASET_SOURCE: lambda: datasets.delete_source(
            dataset_id, one, with_versions=True
        ),
        ResourceKind.DATASET_VERSION: lambda: DatasetVersionService(new, storage).delete(one),
        ResourceKind.MODEL_VERSION: lambda: TransferService(new, storage).delete(one),
        ResourceKind.REPORT: lambda: ReportService(new, storage).delete(one),
    }
    try:
        return ways[kind]()
    finally:
        engine.dispose()


def forked(action: Callable[[], object]) -> int:
    """Do something in a process of its own; return its id."""
    with warnings.catch_warnings():
        # later Pythons warn of forks beside threads; nothing of the parent's is used in the child
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        failed = 1
        try:
            action()
            failed = 0
        finally:
            os._exit(failed)  # nothing of the tests goes on in here
    return child


def delete_until_killed(place: Place, kind: ResourceKind, planted: Planted, step: int) -> bool:
    """Delete in a process that is killed at a step; tell whether it got so far."""

    def work() -> None:
        _kill_at(step)
        delete(place, kind, planted)

    _, status = os.waitpid(forked(work), 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _kill_at(step: int) -> None:
    """Have this process killed at a step: around every commit, around and in every removal."""
    steps = count()

    def tick() -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def stepped(*args: Any, **options: Any) -> Any:
            tick()
            result = original(*args, **options)
            tick()
            return result

        setattr(owner, name, stepped)

    def remove_one_first(folder: Path) -> None:
        first = next(path for path in folder.rglob("*") if path.is_file())
        first.unlink()
        tick()
        rmtree(folder)

    rmtree = shutil.rmtree
    around(UnitOfWork, "commit")
    around(storage_module, "remove_tree")
    storage_module.shutil.rmtree = remove_one_first


def keep_house(place: Place) -> None:
    engine, new = place.unit_of_work()
    complete_deletions(new(), place.storage, utc_now())
    engine.dispose()


def found_of(place: Place, planted: Planted) -> dict[str, set[str]]:
    """Where marks are, by mark: in names and bytes of files, or in rows."""
    found: dict[str, set[str]] = {}

    def search(where: str, content: bytes) -> None:
        for mark in planted.marks.values():
            if mark.encode() in content:
                found.setdefault(mark, set()).add(where)

    for path in place.folder.rglob("*"):
        search(str(path), bytes(path) + (path.read_bytes() if path.is_file() else b""))
    engine = create_database_engine(place.url)
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            for row in connection.execute(sa.select(table)):
                search(table.name, json.dumps(row._asdict(), default=str).encode())
    engine.dispose()
    return found


def deletions_of(place: Place, resource_id: UUID) -> list[Deletion]:
    engine, new = place.unit_of_work()
    with new() as uow:
        found = uow.deletions.page(9, resource_id=resource_id)
    engine.dispose()
    return found


def audited(place: Place, resource_id: UUID) -> list[tuple[Action, dict[str, Any]]]:
    """The entries about a resource, once the whole chain was verified."""
    engine, new = place.unit_of_work()
    uow = new()

    def read(first: int, last: int) -> list[dict[str, Any]]:
        with uow:
            return uow.audit.slice(first, last)

    with uow:
        head = uow.audit.head()
        entries = uow.audit.page(AuditFilter(resource_id=str(resource_id)), 9)
    assert verify_chain(stream_slices(read, 1, head.sequence), expected=[head]).is_whole
    engine.dispose()
    return [(entry.action, entry.facts) for entry in entries]


@pytest.mark.parametrize("kind", sorted({*FOLDERS, ResourceKind.DATASET}))
def test_a_deletion_killed_at_any_step_is_completed(place: Place, kind: ResourceKind) -> None:
    is_killed, step = True, -1
    while is_killed:
        step += 1
        engine, new = place.unit_of_work()
        planted = plant(new(), place.storage)
        engine.dispose()  # and the log of SQLite, which the last connection empties
        everything = set(planted.marks.values())
        assert step or found_of(place, planted).keys() == everything

        is_killed = delete_until_killed(place, kind, planted, step)
        if not deletions_of(place, planted.ids[kind]):
            assert step == 0  # before its first commit nothing was promised, and nothing done
            assert found_of(place, planted).keys() == everything
            delete(place, kind, planted)
        keep_house(place)

        left = found_of(place, planted)
        assert left.keys() == everything - planted.marks_of(kind), f"step {step}: {left}"
        assert not list((place.folder / "data" / "incoming").iterdir())
        (deletion,) = deletions_of(place, planted.ids[kind])
        _check_record(place, deletion, planted.files_of(kind))
    assert step >= 9


def _check_record(place: Place, deletion: Deletion, files: int) -> None:
    record = deletion_record(deletion)
    assert sum(kind["files"] for kind in record["removed"].values()) == files
    assert deletion.completed_at is not None
    assert deletion.sha256 == entry_sha256(record)
    ((completed, facts),) = audited(place, deletion.id)
    assert completed is Action.DELETION_COMPLETED
    assert (facts["sha256"], facts["files"]) == (deletion.sha256, files)
    (asked,) = audited(place, deletion.resource_id)
    assert asked[1]["deletion_id"] == str(deletion.id)


def test_two_that_complete_one_deletion_at_once_complete_it_once(place: Place) -> None:
    engine, new = place.unit_of_work()
    planted = plant(new(), place.storage)
    engine.dispose()
    assert delete_until_killed(place, ResourceKind.DATASET, planted, 2)

    children = [forked(lambda: keep_house(place)) for _ in range(4)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4

    (deletion,) = deletions_of(place, planted.ids[ResourceKind.DATASET])
    _check_record(place, deletion, planted.files_of(ResourceKind.DATASET))
    assert not found_of(place, planted).keys() & planted.marks_of(ResourceKind.DATASET)
