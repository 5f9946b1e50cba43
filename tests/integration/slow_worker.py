"""A worker whose network does what files in a folder say.

Everything but the network is the real thing. The folder comes in CERVICONTOUR_TEST_GATE; see Gate.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from structlog.contextvars import get_contextvars

from ml.geometry import Volume
from services.core.settings import load_settings
from services.worker.assembly import create_worker
from services.worker.networks import LoadedNetwork, NetworkOptions
from tests.fakes import BoxPrediction, loaded, predict_boxes

GATE_VARIABLE = "CERVICONTOUR_TEST_GATE"
LOOK_SECONDS = 0.05


class Gate:
    """Tells a network in another process what to do with a job, and hears what it did."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

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
        with (self._folder / "starts").open("a") as starts:
            starts.write(f"{job_id} {os.getpid()}\n")

    def processes_of(self, job_id: UUID) -> list[int]:
        """Process ids of all starts of the job, in order."""
        starts = self._folder / "starts"
        lines = starts.read_text().splitlines() if starts.exists() else []
        return [int(line.split()[1]) for line in lines if line.startswith(str(job_id))]

    def _hold(self, job_id: UUID | str) -> Path:
        return self._folder / f"hold-{job_id}"

    def _poison(self, job_id: UUID | str) -> Path:
        return self._folder / f"poison-{job_id}"


class GatedPredictor:
    """Puts a box for every structure, when the gate lets it."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def predict(self, volume: Volume, on_progress: Callable[[float], None]) -> BoxPrediction:
        job_id = str(get_contextvars()["job_id"])
        self._gate.note_start(job_id)
        if self._gate.is_poisoned(job_id):
            os.kill(os.getpid(), signal.SIGKILL)
        while self._gate.is_held(job_id):
            on_progress(0.5)
            time.sleep(LOOK_SECONDS)
        return predict_boxes(volume)


def load_gated_network(_options: NetworkOptions) -> LoadedNetwork:
    return loaded(GatedPredictor(Gate(Path(os.environ[GATE_VARIABLE]))))


if GATE_VARIABLE in os.environ:  # the tests import Gate from here without being a worker
    app = create_worker(load_settings(), load_gated_network)
