"""Networks small enough for tests."""

import torch

from ml.checkpoint import Checkpoint, CheckpointCard
from ml.config import NetworkConfig, PreprocessingConfig, RunConfig
from ml.networks import build_network

TINY_CONFIG = RunConfig(
    preprocessing=PreprocessingConfig(crop_size_px=64, pixel_spacing_mm=4.0),
    network=NetworkConfig(width=0.125),
)


def make_checkpoint(seed: int = 0, config: RunConfig = TINY_CONFIG) -> Checkpoint:
    """Make a checkpoint of random weights."""
    torch.manual_seed(seed)
    return Checkpoint(
        run_config=config,
        card=CheckpointCard(model_version=f"random-{seed}", intended_use="tests"),
        weights=build_network(config.network).state_dict(),
        sha256="",
    )
