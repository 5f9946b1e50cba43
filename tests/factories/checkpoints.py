"""Networks small enough for tests."""

import dataclasses
from collections.abc import Callable

import torch

from ml.checkpoint import Checkpoint, CheckpointCard
from ml.config import NetworkConfig, PreprocessingConfig, RunConfig
from ml.networks import build_network
from ml.networks.base import SegmentationNetwork

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
        weights=build_network(config.network, config.preprocessing.channel_count).state_dict(),
        sha256="",
    )


class ScriptedNetwork(SegmentationNetwork):
    """Answers with what a function makes of the images, and with constant presence."""

    size_multiple = 1

    def __init__(
        self,
        logits: Callable[[torch.Tensor], torch.Tensor],
        presence_logits: tuple[float, ...] = (0.0,) * 4,
    ) -> None:
        super().__init__(NetworkConfig(presence_head=True), 1)
        self.logits = logits
        assert self.presence is not None
        torch.nn.init.zeros_(self.presence.weight)
        self.presence.bias = torch.nn.Parameter(torch.tensor(presence_logits))

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [images[:, :1]]

    def decode(self, maps: list[torch.Tensor]) -> torch.Tensor:
        return self.logits(maps[0])


class ScriptedCheckpoint(Checkpoint):
    """Weights are not needed by a network that is written down."""

    network: SegmentationNetwork

    def build_network(self) -> SegmentationNetwork:
        return self.network.eval()


def make_scripted(
    network: SegmentationNetwork, config: RunConfig = TINY_CONFIG
) -> ScriptedCheckpoint:
    """Make a checkpoint whose network is given."""
    checkpoint = ScriptedCheckpoint(
        run_config=dataclasses.replace(
            config, network=dataclasses.replace(config.network, presence_head=True)
        ),
        card=CheckpointCard(model_version="scripted", intended_use="tests"),
        weights={},
        sha256="",
    )
    object.__setattr__(checkpoint, "network", network)
    return checkpoint
