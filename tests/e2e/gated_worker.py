"""A worker with the network of the package, whose trainings wait for a gate of the test."""

import os
from pathlib import Path

from services.core.settings import load_settings
from services.worker.assembly import create_worker
from services.worker.networks import load_network
from tests.integration.gates import GATE_VARIABLE, Gate, gate_trainings

gate_trainings(Gate(Path(os.environ[GATE_VARIABLE])))
app = create_worker(load_settings(), load_network)
