import errno
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.api.uploads import settling as uploads_settling
from services.api.uploads.settling import SETTLING_THREADS, settling
from services.core.errors import StorageFullError


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / str(number) for number in range(20)]
    for path in paths:
        path.write_bytes(path.name.encode() * 1000)
    return paths


def test_every_file_has_its_hash(paths: list[Path]) -> None:
    expected = [hashlib.sha256(path.read_bytes()).digest() for path in paths]

    with settling(paths) as digest_of:
        found = [digest_of(path) for path in paths]

    assert found == expected


def test_a_file_whose_hash_is_known_is_on_disk(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda handle: synced.add(os.fstat(handle).st_ino))

    with settling(paths) as digest_of:
        for path in paths:
            digest_of(path)
            assert path.stat().st_ino in synced


def test_a_full_disk_is_told(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(StorageFullError), settling(paths) as digest_of:
        digest_of(paths[0])


def test_what_was_refused_is_settled_no_further(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    may_end = threading.Event()

    def sync(handle: int) -> None:
        synced.append(handle)
        may_end.wait()

    class Held(ThreadPoolExecutor):
        """Lets what was begun end once the rest was given up, or was not."""

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            may_end.set()
            super().shutdown(wait=wait)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(uploads_settling, "ThreadPoolExecutor", Held)

    with pytest.raises(ValueError, match="refused"), settling(paths):
        raise ValueError("refused")

    assert len(synced) <= SETTLING_THREADS < len(paths)


def test_files_that_are_not_kept_are_only_hashed(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)

    with settling(paths, are_kept=False) as digest_of:
        assert digest_of(paths[0]) == hashlib.sha256(paths[0].read_bytes()).digest()

    assert synced == []
