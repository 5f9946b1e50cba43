"""What a check that comes to no end leaves."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from services.core.errors import DatabaseUnavailableError, StoredFilesMissingError
from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.storage import CARD_NAME, FilesystemStorage, StoredKind
from services.core.unit_of_work import UnitOfWork
from services.worker import model_checks
from services.worker.context import WorkerContext
from services.worker.networks import load_network
from tests.factories.model_checks import (
    TINY_PHANTOM,
    add_import,
    add_promotion,
    assert_no_files,
    run_check,
    serving,
)
from tests.factories.model_versions import version_of
from tests.factories.phantoms import make_phantom
from tests.fakes import Clock, FullStorage, KnowingPredictor, loader_by_name


@pytest.fixture(autouse=True)
def _tiny_phantom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_checks, "PHANTOM", TINY_PHANTOM)


class TestNothingHalfDone:
    def test_a_full_storage_gives_the_check_back_and_keeps_what_was_sent(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage, tmp_path
    ) -> None:
        version_id = add_import(uow, storage)
        able = serving(worker, load_network)
        full = replace(able, storage=FullStorage(tmp_path / "storage"))

        version = run_check(full, uow, version_id)

        assert (version.state, version.error_code) == (JobState.QUEUED, None)
        assert storage.folder(StoredKind.MODEL_UPLOADS, version_id).is_dir()
        with pytest.raises(StoredFilesMissingError):
            storage.folder(StoredKind.MODEL_VERSIONS, version_id)
        assert run_check(able, uow, version_id).state is JobState.SUCCEEDED

    def test_a_storage_that_stays_full_leaves_no_version(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage, tmp_path
    ) -> None:
        version_id = add_promotion(uow, storage, margin=1.0)
        full = replace(serving(worker, load_network), storage=FullStorage(tmp_path / "storage"))

        for _ in range(version_of(uow, version_id).max_attempts):
            run_check(full, uow, version_id)

        version = version_of(uow, version_id)
        assert (version.state, version.error_code) == (JobState.FAILED, "storage_unavailable")
        assert_no_files(storage, version_id)

    def test_a_database_that_is_away_gives_the_check_back(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def be_away(*_: object) -> None:
            raise DatabaseUnavailableError("the database does not answer")

        version_id = add_import(uow, storage)
        monkeypatch.setattr(model_checks, "finish", be_away)

        version = run_check(serving(worker, load_network), uow, version_id)

        assert (version.state, version.error_code) == (JobState.QUEUED, None)
        assert storage.folder(StoredKind.MODEL_UPLOADS, version_id).is_dir()

    def test_a_card_that_the_disk_cannot_read_is_no_verdict(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        version_id = add_import(uow, storage)
        card = storage.file(StoredKind.MODEL_UPLOADS, version_id, CARD_NAME)
        read_bytes = Path.read_bytes

        def read(path: Path) -> bytes:
            if path == card:
                raise OSError(errno.EIO, "Input/output error")
            return read_bytes(path)

        monkeypatch.setattr(Path, "read_bytes", read)

        version = run_check(serving(worker, load_network), uow, version_id)

        assert (version.state, version.error_code) == (JobState.QUEUED, None)
        assert storage.folder(StoredKind.MODEL_UPLOADS, version_id).is_dir()

    def test_a_start_that_lost_its_lease_leaves_the_upload_to_the_next(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        clock: Clock,
    ) -> None:
        version_id = add_import(uow, storage)

        class Losing(KnowingPredictor):
            def predict(self, volume, on_progress):
                clock.advance(seconds=3600)
                with worker.unit_of_work() as other:
                    other.leases.reap(TaskName.MODEL_VERSION_CHECK)
                    other.commit()
                return super().predict(volume, lambda _: None)

        phantom = make_phantom(TINY_PHANTOM.seed)
        losing = Losing([(phantom.volume, phantom.labels)])
        deaf = replace(worker, times=replace(worker.times, heartbeat_seconds=3600))
        able = serving(deaf, loader_by_name(losing, candidate=losing))

        version = run_check(able, uow, version_id)

        assert version.state is JobState.QUEUED
        assert storage.folder(StoredKind.MODEL_UPLOADS, version_id).is_dir()
        with pytest.raises(StoredFilesMissingError):
            storage.folder(StoredKind.MODEL_VERSIONS, version_id)
