"""Where the bytes lie: uploads in work, CT series and results, under keys that identify nobody.

incoming/<uuid>/            being written; belongs to the process that made it
series/<uuid>/00001.dcm     the files of a CT series
results/<uuid>/rtstruct.dcm what a contouring job released
"""

import errno
import os
import shutil
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol
from uuid import UUID, uuid4

from services.core.errors import (
    StorageFullError,
    StorageUnavailableError,
    StoredFilesMissingError,
)

RTSTRUCT_NAME = "rtstruct.dcm"


def slice_name(number: int) -> str:
    """Name the file of a series' slice, counted from 1."""
    return f"{number:05d}.dcm"


class Storage(Protocol):
    """Keeps folders of files; what is published is complete or absent, never in between."""

    def staging(self) -> AbstractContextManager[Path]:
        """Open a folder to write into; what was not published is gone afterwards."""
        ...

    def publish_series(self, folder: Path, series_id: UUID) -> None:
        """Make a staged folder the files of a series; files already there stay."""
        ...

    def publish_result(self, folder: Path, job_id: UUID) -> None:
        """Make a staged folder the result of a job, in place of any earlier one."""
        ...

    def series_folder(self, series_id: UUID) -> Path:
        """Return the folder of a series; raises StoredFilesMissingError."""
        ...

    def rtstruct_path(self, job_id: UUID) -> Path:
        """Return the RTSTRUCT of a job; raises StoredFilesMissingError."""
        ...

    def delete_series(self, series_id: UUID) -> None:
        """Remove the files of a series, if any."""
        ...

    def delete_result(self, job_id: UUID) -> None:
        """Remove the result of a job, if any."""
        ...

    def sweep_staging(self, older_than_seconds: float) -> int:
        """Remove staged folders that nobody has written to for so long; return how many."""
        ...

    def list_series(self, older_than_seconds: float) -> list[UUID]:
        """List series folders of at least that age."""
        ...

    def list_results(self, older_than_seconds: float) -> list[UUID]:
        """List result folders of at least that age."""
        ...

    def check(self) -> None:
        """Prove that the storage can be written; raises StorageUnavailableError."""
        ...


class FilesystemStorage:
    """Storage in one folder of one filesystem, so that publishing is a rename."""

    def __init__(self, root: Path) -> None:
        self._incoming = root / "incoming"
        self._series = root / "series"
        self._results = root / "results"

    @contextmanager
    def staging(self) -> Generator[Path]:
        """Open a folder to write into; what was not published is gone afterwards.

        Raises:
            StorageUnavailableError: the folder cannot be made.
        """
        folder = self._incoming / str(uuid4())
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise storage_error(error) from error
        try:
            yield folder
        finally:
            if folder.exists():
                shutil.rmtree(folder)

    def publish_series(self, folder: Path, series_id: UUID) -> None:
        """Make a staged folder the files of a series; files already there stay.

        The caller holds the series' row, so no other process publishes or deletes it meanwhile.

        Raises:
            StorageUnavailableError: the files cannot be made durable.
        """
        if not (self._series / str(series_id)).exists():
            self._publish(folder, self._series / str(series_id))

    def publish_result(self, folder: Path, job_id: UUID) -> None:
        """Make a staged folder the result of a job, in place of any earlier one.

        The caller holds the job's row. An earlier result is left by a worker that died between
        publishing and its commit.

        Raises:
            StorageUnavailableError: the files cannot be made durable.
        """
        self.delete_result(job_id)
        self._publish(folder, self._results / str(job_id))

    def series_folder(self, series_id: UUID) -> Path:
        """Return the folder of a series.

        Raises:
            StoredFilesMissingError: nothing is stored for it.
        """
        folder = self._series / str(series_id)
        if not folder.is_dir():
            raise StoredFilesMissingError("series", series_id)
        return folder

    def rtstruct_path(self, job_id: UUID) -> Path:
        """Return the RTSTRUCT of a job.

        Raises:
            StoredFilesMissingError: nothing is stored for it.
        """
        path = self._results / str(job_id) / RTSTRUCT_NAME
        if not path.is_file():
            raise StoredFilesMissingError("contour job", job_id)
        return path

    def delete_series(self, series_id: UUID) -> None:
        """Remove the files of a series, if any."""
        self._delete(self._series / str(series_id))

    def delete_result(self, job_id: UUID) -> None:
        """Remove the result of a job, if any."""
        self._delete(self._results / str(job_id))

    def sweep_staging(self, older_than_seconds: float) -> int:
        """Remove staged folders that nobody has written to for so long; return how many."""
        stale = _older(self._incoming, older_than_seconds)
        for folder in stale:
            shutil.rmtree(folder, ignore_errors=True)  # another worker may sweep it at this moment
        return len(stale)

    def list_series(self, older_than_seconds: float) -> list[UUID]:
        """List series folders of at least that age."""
        return _resource_ids(_older(self._series, older_than_seconds))

    def list_results(self, older_than_seconds: float) -> list[UUID]:
        """List result folders of at least that age."""
        return _resource_ids(_older(self._results, older_than_seconds))

    def check(self) -> None:
        """Prove that the storage can be written.

        Raises:
            StorageUnavailableError: a file cannot be made.
        """
        with self.staging() as folder:
            try:
                (folder / "probe").touch()
            except OSError as error:
                raise storage_error(error) from error

    def _publish(self, folder: Path, target: Path) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                _sync(path)
            _sync(folder)
            folder.replace(target)
            _sync(target.parent)
        except OSError as error:
            raise storage_error(error) from error

    def _delete(self, folder: Path) -> None:
        # Renamed first, so that no reader ever sees half a folder; a sweep ends what a crash left.
        grave = self._incoming / str(uuid4())
        try:
            grave.parent.mkdir(parents=True, exist_ok=True)
            folder.replace(grave)
        except FileNotFoundError:
            return
        shutil.rmtree(grave)


def _older(parent: Path, seconds: float) -> list[Path]:
    latest = time.time() - seconds
    if not parent.is_dir():
        return []
    return [folder for folder in parent.iterdir() if _last_write(folder) <= latest]


def _resource_ids(folders: list[Path]) -> list[UUID]:
    """Return the ids in folder names; what an operator put there has none and is left alone."""
    return [UUID(folder.name) for folder in folders if _is_uuid(folder.name)]


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def _last_write(folder: Path) -> float:
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except (FileNotFoundError, NotADirectoryError):
        return time.time()  # renamed or removed at this moment: not for us


def _sync(path: Path) -> None:
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
