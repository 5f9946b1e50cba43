"""Faults inside a process of the service, which is otherwise the real one.

Installed before anything of the service is imported. Needs no rights and no preloaded library:
opening a file raises what a full or broken disk raises, and the clock is the true one moved.
"""

import datetime as dt
import errno
import os
import sys
import time
from pathlib import Path
from uuid import UUID

from services.core import database
from services.core.storage import FilesystemStorage, StoredKind
from services.core.unit_of_work import UnitOfWork
from tests.chaos.controls import FOLDER_VARIABLE, Controls, Point, Switch

CLOCK_LOOK_SECONDS = 0.05
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class DiskFaults:
    """Refuses to open files of the storage while a switch is on."""

    def __init__(self, controls: Controls, root: Path, full: Switch, unreadable: Switch) -> None:
        self._controls = controls
        self._written = (str(root / "incoming"), str(root / "broker"))
        self._read = tuple(str(root / kind) for kind in StoredKind)
        self._full = full
        self._unreadable = unreadable

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        """Be told of an event by the interpreter (sys.addaudithook)."""
        if event != "open":
            return
        path, _mode, flags = arguments
        if not isinstance(path, str) or not isinstance(flags, int):
            return
        if flags & WRITING:
            if path.startswith(self._written) and self._controls.is_on(self._full):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        elif path.startswith(self._read) and self._controls.is_on(self._unreadable):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)


class MovedClock:
    """time.time(), moved by what the controls say."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._true_time = time.time
        self._offset = controls.clock_offset
        self._looked_at = time.monotonic()

    def __call__(self) -> float:
        if time.monotonic() - self._looked_at > CLOCK_LOOK_SECONDS:
            self._offset = self._controls.clock_offset
            self._looked_at = time.monotonic()
        return self._true_time() + self._offset


def _moved_now() -> dt.datetime:
    return dt.datetime.fromtimestamp(time.time(), dt.UTC)


def install(full: Switch, unreadable: Switch) -> Controls:
    """Put the faults into this process."""
    controls = Controls(Path(os.environ[FOLDER_VARIABLE]))
    root = Path(os.environ["CERVICONTOUR_DATA_DIR"])
    sys.addaudithook(DiskFaults(controls, root, full, unreadable))
    time.time = MovedClock(controls)
    # Its code, since others have taken the function by name, some as a default argument.
    database.utc_now.__code__ = _moved_now.__code__
    return controls


def hold_after_publishing(controls: Controls, watched: StoredKind, point: Point) -> None:
    """Have this process pass a point whenever files of a kind came into storage."""
    publish = FilesystemStorage.publish

    def pausing(self: FilesystemStorage, kind: StoredKind, folder: Path, resource_id: UUID) -> None:
        publish(self, kind, folder, resource_id)
        if kind is watched:
            controls.pass_by(point)

    FilesystemStorage.publish = pausing


def hold_after_commits(controls: Controls, point: Point) -> None:
    """Have this process pass a point whenever a transaction was committed."""
    commit = UnitOfWork.commit

    def pausing(self: UnitOfWork) -> None:
        commit(self)
        controls.pass_by(point)

    UnitOfWork.commit = pausing
