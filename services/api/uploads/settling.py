"""Received files hashed and made durable by threads, while their headers are read."""

import hashlib
import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from services.core.disk import storage_error

SETTLING_THREADS = 8
"""Neither hashing nor waiting for the disk holds the interpreter, and the filesystem
writes its journal once for all that wait for it."""


@contextmanager
def settling(paths: Iterable[Path], *, are_kept: bool = True) -> Generator[Callable[[Path], bytes]]:
    """Have files hashed and made durable beside what the block does.

    A file may be renamed once its hash was asked for, never changed. Publishing flushes again,
    which costs nothing where everything is on disk.

    Args:
        paths: of the files.
        are_kept: False for files that are only hashed, and removed before anything is published.

    Yields:
        What returns the SHA-256 of one of the files; it waits for it, and raises
        StorageUnavailableError where the disk fails.
    """
    with ThreadPoolExecutor(SETTLING_THREADS) as threads:
        settled = {path: threads.submit(_settle, path, are_kept) for path in paths}
        try:
            yield lambda path: _result(settled[path])
        finally:
            threads.shutdown(cancel_futures=True)  # a refused upload is settled no further


def _result(settled: Future[bytes]) -> bytes:
    try:
        return settled.result()
    except OSError as error:
        raise storage_error(error) from error


def _settle(path: Path, is_kept: bool) -> bytes:  # noqa: FBT001 (submit passes by position)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        if is_kept:
            os.fsync(file.fileno())
    return digest
