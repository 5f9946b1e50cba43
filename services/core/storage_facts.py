"""What monitoring wants to know of the storage: room, sizes, and when it was last backed up."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BACKUP_STAMP = Path("last-backup")
"""Below the data folder: Unix seconds of the last backup that succeeded, as text.

Its content counts and not its time of writing, which a restore would renew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """What the filesystem of the storage has."""

    total_bytes: int
    free_bytes: int
    """To a process without root's reserve."""


class StorageFacts:
    """Reads facts of the data folder, and notes the one that nothing else would tell."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def room(self) -> Room:
        """Return what the filesystem has left; one system call.

        Raises:
            OSError: the folder is not there.
        """
        usage = shutil.disk_usage(self._root)
        return Room(total_bytes=usage.total, free_bytes=usage.free)

    def last_backup_timestamp(self) -> float:
        """Return when the last backup succeeded in Unix seconds; 0 when none is known of.

        A stamp that is no number counts as none: monitoring then says what is wrong.
        """
        try:
            return float((self._root / BACKUP_STAMP).read_text())
        except (OSError, ValueError):
            return 0.0

    def note_backup(self, timestamp: int) -> None:
        """Note when a backup that succeeded was begun, in Unix seconds.

        Raises:
            OSError: the data folder cannot be written.
        """
        unfinished = self._root / f".{BACKUP_STAMP.name}.part"
        unfinished.write_text(f"{timestamp}\n", encoding="ascii")
        unfinished.replace(self._root / BACKUP_STAMP)

    def measure(self, kind: str, is_wanted: Callable[[], bool]) -> int | None:
        """Add up the bytes below the folder of a kind; None if that was no longer wanted."""
        total = 0
        folders = [self._root / kind]
        while folders:
            if not is_wanted():
                return None
            found, below = _sizes(folders.pop())
            total += found
            folders += below
        return total


def _sizes(folder: Path) -> tuple[int, list[Path]]:
    """Return the bytes of the files directly in a folder, and the folders in it."""
    try:
        with os.scandir(folder) as entries:
            kept = [e for e in entries if not e.is_symlink()]
        below = [Path(e.path) for e in kept if e.is_dir()]
        return sum(e.stat().st_size for e in kept if e.is_file()), below
    except FileNotFoundError:
        return 0, []  # nothing of that kind, or removed at this moment
