"""What storage does to files, and what a filesystem's errors mean to the service."""

import errno
import math
import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.core.errors import StorageFullError, StorageUnavailableError


@contextmanager
def disk_errors() -> Generator[None]:
    """Raise what an error of the filesystem means to the service."""
    try:
        yield
    except OSError as error:
        raise storage_error(error) from error


def remove_tree(folder: Path) -> None:
    """Remove a folder that others may be removing, too."""
    while folder.exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)


def walk(folder: Path) -> Iterator[Path]:
    """Yield everything in a folder, the folder itself last."""
    for path in folder.iterdir():
        yield from walk(path) if path.is_dir() else (path,)
    yield folder


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files at any depth of a folder that others may be moving or removing."""

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for parent, _, names in os.walk(folder, onerror=note):
        yield from (Path(parent, name) for name in names)


def last_write(folder: Path) -> float:
    """Return when a folder, or a file in it, was last written to, by the filesystem's clock."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except (FileNotFoundError, NotADirectoryError):
        return math.inf  # renamed or removed at this moment: not for us


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_error(error: OSError) -> StorageUnavailableError:
    """Return what an error of the filesystem means to the service."""
    reason = errno.errorcode.get(error.errno or 0, "unknown")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError(f"the storage is full ({reason})", reason=reason)
    return StorageUnavailableError(f"the storage cannot be used ({reason})", reason=reason)
