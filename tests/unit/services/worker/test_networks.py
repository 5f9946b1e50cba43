import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.checkpoint import Checkpoint, CheckpointCard, save_checkpoint
from ml.config import NetworkConfig, RunConfig
from ml.geometry import LEFT, POSTERIOR, Volume, VolumeGeometry
from ml.networks import build_network
from services.worker.networks import (
    DeviceMissingError,
    GpuOutOfMemoryError,
    NetworkOptions,
    WeightsUnusableError,
    load_network,
)

CONFIG = RunConfig(network=NetworkConfig(width=0.0625))


@pytest.fixture
def options(tmp_path: Path) -> NetworkOptions:
    """Tiny weights on disk."""
    torch.manual_seed(0)
    checkpoint = Checkpoint(
        run_config=CONFIG,
        card=CheckpointCard(model_version="tiny-1", intended_use="tests"),
        weights=build_network(CONFIG.network).state_dict(),
        sha256="",
    )
    save_checkpoint(checkpoint, tmp_path / "tiny.safetensors")
    return NetworkOptions(
        weights_path=tmp_path / "tiny.safetensors", device="cpu", batch_size=2, thread_count=1
    )


@pytest.fixture
def volume() -> Volume:
    positions = np.array([[0.0, 0.0, 5.0 * z] for z in range(3)])
    geometry = VolumeGeometry(
        rows=32,
        columns=32,
        pixel_spacing_mm=(4.0, 4.0),
        row_direction=LEFT,
        column_direction=POSTERIOR,
        slice_positions_mm=positions,
    )
    return Volume(hu=np.zeros((3, 32, 32), np.int16), geometry=geometry)


class TestLoadNetwork:
    def test_a_network_comes_with_its_provenance(
        self, options: NetworkOptions, volume: Volume
    ) -> None:
        network = load_network(options)

        assert network.model_version == "tiny-1"
        assert len(network.weights_sha256) == 64
        assert network.structures.class_count == CONFIG.network.class_count
        prediction = network.predictor.predict(volume, lambda _: None)
        assert prediction.labels.shape == (3, 32, 32)

    def test_changed_weights_are_refused(self, options: NetworkOptions) -> None:
        assert options.weights_path is not None
        content = bytearray(options.weights_path.read_bytes())
        content[-1] ^= 1
        options.weights_path.write_bytes(content)

        with pytest.raises(WeightsUnusableError):
            load_network(options)

    def test_a_device_that_is_not_there_is_told(
        self, options: NetworkOptions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        cuda = NetworkOptions(
            weights_path=options.weights_path, device="cuda", batch_size=2, thread_count=1
        )

        with pytest.raises(DeviceMissingError):
            load_network(cuda)

    def test_running_out_of_memory_has_a_name(
        self, options: NetworkOptions, volume: Volume
    ) -> None:
        network = load_network(options)

        def run_out(_: float) -> None:
            raise torch.OutOfMemoryError

        with pytest.raises(GpuOutOfMemoryError) as caught:
            network.predictor.predict(volume, run_out)

        assert caught.value.context == {"batch_size": 2}


def test_a_worker_s_parent_never_sees_torch(tmp_path: Path) -> None:
    code = "import sys, services.worker.app; print('torch' in sys.modules)"

    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"CERVICONTOUR_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.strip() == "False"
