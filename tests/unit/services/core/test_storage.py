import errno
import os
import time
from pathlib import Path
from uuid import uuid4

import pytest

from services.core.errors import StorageUnavailableError, StoredFilesMissingError
from services.core.storage import RTSTRUCT_NAME, FilesystemStorage, StoredKind, slice_name

AN_HOUR = 3600.0


def make_old(folder: Path) -> None:
    long_ago = time.time() - 2 * AN_HOUR
    for path in (*folder.iterdir(), folder):
        os.utime(path, (long_ago, long_ago))


def stage_and_publish(storage: FilesystemStorage, text: str = "x") -> Path:
    """A published result; returns the folder."""
    with storage.staging() as folder:
        (folder / RTSTRUCT_NAME).write_text(text)
        storage.publish(StoredKind.RESULTS, folder, job_id := uuid4())
    return storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME).parent


class TestStaging:
    def test_unpublished_files_are_gone(self, storage: FilesystemStorage) -> None:
        with storage.staging() as folder:
            (folder / "half").touch()

        assert not folder.exists()

    def test_unpublished_files_are_gone_after_an_error(self, storage: FilesystemStorage) -> None:
        with pytest.raises(RuntimeError), storage.staging() as folder:
            raise RuntimeError

        assert not folder.exists()

    def test_a_root_that_is_no_folder_is_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        storage = FilesystemStorage(tmp_path / "file")

        with pytest.raises(StorageUnavailableError) as caught:
            storage.check()

        assert caught.value.context == {"reason": "ENOTDIR"}


class TestSeries:
    def test_published_files_are_found(self, storage: FilesystemStorage) -> None:
        series_id = uuid4()
        with storage.staging() as folder:
            (folder / slice_name(1)).write_text("pixels")
            storage.publish_once(StoredKind.SERIES, folder, series_id)

        assert (storage.folder(StoredKind.SERIES, series_id) / "00001.dcm").read_text() == "pixels"
        assert storage.list_stored(StoredKind.SERIES, 0) == [series_id]

    def test_files_already_there_stay(self, storage: FilesystemStorage) -> None:
        series_id = uuid4()
        for text in ("first", "second"):
            with storage.staging() as folder:
                (folder / slice_name(1)).write_text(text)
                storage.publish_once(StoredKind.SERIES, folder, series_id)

        assert (storage.folder(StoredKind.SERIES, series_id) / "00001.dcm").read_text() == "first"
        assert not folder.exists()

    def test_deleted_files_are_missing(self, storage: FilesystemStorage) -> None:
        series_id = uuid4()
        with storage.staging() as folder:
            storage.publish_once(StoredKind.SERIES, folder, series_id)

        storage.delete(StoredKind.SERIES, series_id)

        with pytest.raises(StoredFilesMissingError):
            storage.folder(StoredKind.SERIES, series_id)

    def test_deleting_nothing_is_no_error(self, storage: FilesystemStorage) -> None:
        storage.delete(StoredKind.SERIES, uuid4())


class TestErasing:
    def test_what_is_counted_is_gone_afterwards(
        self, storage: FilesystemStorage, tmp_path: Path
    ) -> None:
        series_id = uuid4()
        with storage.staging() as folder:
            (folder / "below").mkdir()
            (folder / "a").write_bytes(b"123")
            (folder / "below" / "b").write_bytes(b"45")
            storage.publish(StoredKind.SERIES, folder, series_id)

        assert storage.measure(StoredKind.SERIES, series_id) == (2, 5)
        for _ in range(2):
            storage.erase(StoredKind.SERIES, series_id)

        assert storage.measure(StoredKind.SERIES, series_id) == (0, 0)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_what_an_earlier_try_left_goes_too(
        self, storage: FilesystemStorage, tmp_path: Path
    ) -> None:
        series_id = uuid4()
        grave = tmp_path / "storage" / "incoming" / f"series-{series_id}"
        (grave / "below").mkdir(parents=True)
        (grave / "below" / "b").touch()

        storage.erase(StoredKind.SERIES, series_id)

        assert not grave.exists()

    def test_what_cannot_be_removed_is_unavailable(
        self, storage: FilesystemStorage, tmp_path: Path
    ) -> None:
        (tmp_path / "storage").mkdir()
        (tmp_path / "storage" / "incoming").touch()

        with pytest.raises(StorageUnavailableError):
            storage.erase(StoredKind.SERIES, uuid4())


class TestResults:
    def test_a_later_result_replaces_an_earlier_one(self, storage: FilesystemStorage) -> None:
        job_id = uuid4()
        for text in ("first", "second"):
            with storage.staging() as folder:
                (folder / RTSTRUCT_NAME).write_text(text)
                storage.publish(StoredKind.RESULTS, folder, job_id)

        assert storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME).read_text() == "second"

    def test_a_missing_result_says_whose(self, storage: FilesystemStorage) -> None:
        job_id = uuid4()

        with pytest.raises(StoredFilesMissingError) as caught:
            storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME)

        assert caught.value.resource_id == job_id

    def test_publishing_what_is_gone_is_unavailable(
        self, storage: FilesystemStorage, tmp_path: Path
    ) -> None:
        with pytest.raises(StorageUnavailableError):
            storage.publish(StoredKind.RESULTS, tmp_path / "nowhere", uuid4())

    def test_deleted_results_are_missing(self, storage: FilesystemStorage) -> None:
        folder = stage_and_publish(storage)

        storage.delete(StoredKind.RESULTS, storage.list_stored(StoredKind.RESULTS, 0)[0])

        assert not folder.exists()


class TestSweep:
    def test_only_old_staging_is_removed(self, storage: FilesystemStorage) -> None:
        with storage.staging() as old, storage.staging() as young:
            (old / "a").touch()
            make_old(old)

            assert storage.sweep_staging(AN_HOUR) == 1
            assert not old.exists()
            assert young.exists()

    def test_staging_still_written_to_is_young(self, storage: FilesystemStorage) -> None:
        with storage.staging() as folder:
            (folder / "a").touch()
            make_old(folder)
            (folder / "a").write_text("more")

            assert storage.sweep_staging(AN_HOUR) == 0

    def test_only_old_results_are_listed(self, storage: FilesystemStorage) -> None:
        old, _ = stage_and_publish(storage), stage_and_publish(storage)
        make_old(old)

        assert [str(job_id) for job_id in storage.list_stored(StoredKind.RESULTS, AN_HOUR)] == [
            old.name
        ]

    def test_folders_of_other_names_are_left_alone(
        self, storage: FilesystemStorage, tmp_path: Path
    ) -> None:
        job_id = uuid4()
        for name in (str(job_id), "lost+found", str(uuid4()).upper()):
            (tmp_path / "storage" / "results" / name).mkdir(parents=True)

        assert storage.list_stored(StoredKind.RESULTS, 0) == [job_id]

    def test_age_is_told_by_the_clock_of_the_disk(
        self, storage: FilesystemStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "time", lambda: 4e9)  # ours is set to another century

        with storage.staging():
            assert storage.sweep_staging(AN_HOUR) == 0

    def test_an_empty_storage_has_nothing_to_sweep(self, storage: FilesystemStorage) -> None:
        assert storage.sweep_staging(0) == 0

    def test_what_is_no_folder_is_left_alone(
        self, storage: FilesystemStorage, tmp_path: Path
    ) -> None:
        storage.check()
        (tmp_path / "storage" / "incoming" / "file").touch()

        assert storage.sweep_staging(0) == 0


class TestCheck:
    def test_a_writable_storage_is_available(self, storage: FilesystemStorage) -> None:
        storage.check()

    def test_a_probe_that_cannot_be_written_is_told(
        self, storage: FilesystemStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_path: Path, _bytes: bytes) -> None:
            raise OSError(28, "no space")

        monkeypatch.setattr(Path, "write_bytes", full)

        with pytest.raises(StorageUnavailableError) as caught:
            storage.check()

        assert caught.value.context == {"reason": "ENOSPC"}


class TestWorkspace:
    def test_the_first_start_finds_nothing(self, storage: FilesystemStorage) -> None:
        assert list(storage.workspace(uuid4(), 1).iterdir()) == []

    def test_a_later_start_finds_what_the_one_before_left(self, storage: FilesystemStorage) -> None:
        work = uuid4()
        (storage.workspace(work, 1) / "training").mkdir()
        (storage.workspace(work, 1) / "training" / "state.pt").write_text("epoch 3")

        found = storage.workspace(work, 3) / "training" / "state.pt"

        assert found.read_text() == "epoch 3"

    def test_what_a_frozen_start_writes_is_not_seen(self, storage: FilesystemStorage) -> None:
        work = uuid4()
        (storage.workspace(work, 1) / "state.pt").write_text("epoch 3")
        storage.workspace(work, 2)

        replacement = storage.workspace(work, 1) / "state.pt.part"
        replacement.write_text("epoch 4")
        replacement.replace(storage.workspace(work, 1) / "state.pt")

        assert (storage.workspace(work, 2) / "state.pt").read_text() == "epoch 3"

    def test_a_fresh_start_passes_over_earlier_ones(self, storage: FilesystemStorage) -> None:
        work = uuid4()
        (storage.workspace(work, 2) / "state.pt").touch()

        assert list(storage.workspace(work, 3, after=2).iterdir()) == []

    def test_the_same_start_finds_its_own_folder(self, storage: FilesystemStorage) -> None:
        work = uuid4()
        (storage.workspace(work, 1) / "state.pt").touch()

        assert (storage.workspace(work, 1) / "state.pt").exists()

    def test_workspaces_are_listed_and_removed(self, storage: FilesystemStorage) -> None:
        work = uuid4()
        storage.workspace(work, 1)
        assert storage.list_stored(StoredKind.WORKSPACES, 0) == [work]

        storage.delete(StoredKind.WORKSPACES, work)

        assert storage.list_stored(StoredKind.WORKSPACES, 0) == []


class TestPublish:
    def test_folders_in_folders_are_published(self, storage: FilesystemStorage) -> None:
        version = uuid4()
        with storage.staging() as folder:
            (folder / "cases" / "one").mkdir(parents=True)
            (folder / "cases" / "one" / "hu.npy").write_text("voxels")
            storage.publish(StoredKind.DATASETS, folder, version)

        found = storage.folder(StoredKind.DATASETS, version) / "cases" / "one" / "hu.npy"
        assert found.read_text() == "voxels"


class TestPseudonymKey:
    def test_it_lies_apart_from_everything_that_is_listed(
        self, storage: FilesystemStorage, tmp_path: Path
    ) -> None:
        path = storage.pseudonym_key_path()

        assert path == tmp_path / "storage" / "private" / "pseudonym.key"
        assert path.parent.name not in {kind.value for kind in StoredKind}


class TestFlush:
    def test_every_file_and_folder_is_synced(
        self, storage: FilesystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "file").touch()
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))

        storage.flush(tmp_path / "a")

        paths = [tmp_path / "a" / "b" / "file", tmp_path / "a" / "b", tmp_path / "a"]
        assert sorted(synced) == sorted(path.stat().st_ino for path in paths)

    def test_a_file_that_cannot_be_synced_is_told(
        self, storage: FilesystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_handle: int) -> None:
            raise OSError(errno.EIO, "broken")

        (tmp_path / "a").mkdir()
        for number in range(20):
            (tmp_path / "a" / str(number)).touch()
        monkeypatch.setattr(os, "fsync", fail)

        with pytest.raises(StorageUnavailableError) as caught:
            storage.flush(tmp_path / "a")

        assert caught.value.context == {"reason": "EIO"}

    def test_a_folder_that_is_gone_is_told(
        self, storage: FilesystemStorage, tmp_path: Path
    ) -> None:
        with pytest.raises(StorageUnavailableError):
            storage.flush(tmp_path / "nothing")
