"""A worker whose network does what files in a folder say, and whose trainings wait for them.

Everything else is the real thing; see Gate.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from structlog.contextvars import get_contextvars

from ml.geometry import Volume
from services.core.settings import load_settings
from services.worker.assembly import create_worker
from services.worker.networks import LoadedNetwork, NetworkOptions
from tests.fakes import BoxPrediction, loaded, predict_boxes
from tests.integration.gates import GATE_VARIABLE, LOOK_SECONDS, Gate, gate_trainings


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


gate_trainings(Gate(Path(os.environ[GATE_VARIABLE])))
app = create_worker(load_settings(), load_gated_network)
