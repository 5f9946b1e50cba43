"""A database of its own for every test, migrated once a session."""

import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.core.database import create_database_engine, create_sessions
from services.core.migrations import upgrade_database
from services.core.storage import FilesystemStorage
from services.core.unit_of_work import UnitOfWork
from tests.fakes import Clock, FakeJobQueue


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "migrated.sqlite"
    engine = create_database_engine(f"sqlite:///{path}")
    upgrade_database(engine)
    engine.dispose()
    return path


@pytest.fixture
def engine(migrated_file: Path, tmp_path: Path) -> Iterator[sa.Engine]:
    shutil.copy(migrated_file, tmp_path / "test.sqlite")
    engine = create_database_engine(f"sqlite:///{tmp_path / 'test.sqlite'}")
    yield engine
    engine.dispose()


@pytest.fixture
def job_queue() -> FakeJobQueue:
    return FakeJobQueue()


@pytest.fixture
def clock() -> Clock:
    return Clock(dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC))


@pytest.fixture
def unit_of_work(
    engine: sa.Engine, job_queue: FakeJobQueue, clock: Clock
) -> Callable[[], UnitOfWork]:
    sessions = create_sessions(engine)
    return lambda: UnitOfWork(sessions, job_queue, clock)


@pytest.fixture
def uow(unit_of_work: Callable[[], UnitOfWork]) -> UnitOfWork:
    return unit_of_work()


@pytest.fixture
def storage(tmp_path: Path) -> FilesystemStorage:
    return FilesystemStorage(tmp_path / "storage")
