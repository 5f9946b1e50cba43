"""Files by which a test holds jobs and trainings in other processes, and hears of their starts."""

import os
import time
from pathlib import Path
from uuid import UUID

from services.worker.run_reporter import RunReporter

GATE_VARIABLE = "CERVICONTOUR_TEST_GATE"
"""Names the folder of these files to every process."""
TRAININGS = "trainings"
"""Held in the place of one job: every run, in the midst of its second epoch."""
LOOK_SECONDS = 0.05


class Gate:
    """Tells a network in another process what to do with a job, and hears what it did."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def hold(self, job_id: UUID | str) -> None:
        """Keep the job in the network until it is released."""
        self._hold(job_id).touch()

    def release(self, job_id: UUID | str) -> None:
        self._hold(job_id).unlink()

    def is_held(self, job_id: UUID | str) -> bool:
        return self._hold(job_id).exists()

    def poison(self, job_id: UUID | str) -> None:
        """Have the job kill its process."""
        self._poison(job_id).touch()

    def is_poisoned(self, job_id: UUID | str) -> bool:
        return self._poison(job_id).exists()

    def note_start(self, job_id: str) -> None:
        with (self.folder / "starts").open("a") as starts:
            starts.write(f"{job_id} {os.getpid()}\n")

    def processes_of(self, job_id: UUID) -> list[int]:
        """Process ids of all starts of the job, in order."""
        starts = self.folder / "starts"
        lines = starts.read_text().splitlines() if starts.exists() else []
        return [int(line.split()[1]) for line in lines if line.startswith(str(job_id))]

    def _hold(self, job_id: UUID | str) -> Path:
        return self.folder / f"hold-{job_id}"

    def _poison(self, job_id: UUID | str) -> Path:
        return self.folder / f"poison-{job_id}"


def gate_trainings(gate: Gate) -> None:
    """Have runs wait in the midst of their second epoch for as long as the gate says."""
    finish_batch = RunReporter.batch_finished

    def batch_finished(self: RunReporter, done: int, total: int, loss: float) -> None:
        finish_batch(self, done, total, loss)
        if self._finished == 1 and done < total and gate.is_held(TRAININGS):
            gate.note_start(str(self._claim.resource_id))
            while gate.is_held(TRAININGS) and self._lease.is_wanted:
                time.sleep(LOOK_SECONDS)

    RunReporter.batch_finished = batch_finished
