"""Files by which a test tells the processes of a stack what to do, and hears where they are."""

import os
import time
from enum import StrEnum
from pathlib import Path

FOLDER_VARIABLE = "CERVICONTOUR_CHAOS"
"""Names the folder of these files to every process."""

TAKES_NO_MORE = "no further job is taken"
"""What a worker logs that was told to stop, and whose loop came to hear of it."""

LOOK_SECONDS = 0.02


class Point(StrEnum):
    """Where a process can be held."""

    PUBLISHING = "publishing"
    """API: the files of a series are in storage, their row is not committed."""
    ANSWERING = "answering"
    """API: the job is committed, its sender does not know."""
    READING = "reading"
    CONTOURING = "contouring"
    WRITING = "writing"
    CHECKING = "checking"
    RELEASING = "releasing"
    """Worker: the result is in storage, the end of the job is not committed."""
    ENDING = "ending"
    """Worker: the end of the job is committed, its message not acknowledged."""


class Switch(StrEnum):
    """What can be wrong with the disk, for the API or for the workers."""

    API_FULL = "api-full"
    WORKER_FULL = "worker-full"
    API_UNREADABLE = "api-unreadable"
    WORKER_UNREADABLE = "worker-unreadable"


class Controls:
    """Both sides of the folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def turn_on(self, switch: Switch) -> None:
        (self._folder / switch).touch()

    def turn_off(self, switch: Switch) -> None:
        (self._folder / switch).unlink(missing_ok=True)

    def is_on(self, switch: Switch) -> bool:
        return (self._folder / switch).exists()

    def hold_at(self, point: Point) -> None:
        """Hold every process that comes to a point until let_go()."""
        (self._folder / f"hold-{point}").touch()

    def let_go(self, point: Point) -> None:
        (self._folder / f"hold-{point}").unlink(missing_ok=True)
        for held in self._folder.glob(f"held-{point}-*"):
            held.unlink(missing_ok=True)

    def held_at(self, point: Point) -> list[int]:
        """Return the processes that are held there, or were killed there."""
        return [int(held.name.rpartition("-")[2]) for held in self._folder.glob(f"held-{point}-*")]

    def pass_by(self, point: Point) -> None:
        """Called by a process that comes to a point."""
        hold = self._folder / f"hold-{point}"
        if not hold.exists():
            return
        held = self._folder / f"held-{point}-{os.getpid()}"
        held.touch()
        while hold.exists():
            time.sleep(LOOK_SECONDS)
        held.unlink(missing_ok=True)

    @property
    def clock_offset(self) -> float:
        """How far the clock of every process is from the true one, in seconds."""
        try:
            return float((self._folder / "clock").read_text() or "0")
        except FileNotFoundError:
            return 0.0

    def set_clock(self, offset_seconds: float) -> None:
        unfinished = self._folder / "clock.part"
        unfinished.write_text(str(offset_seconds))
        unfinished.rename(self._folder / "clock")
