"""The networks a run can train, by name."""

from collections.abc import Callable

from torch import nn

from ml.config import NetworkConfig, NetworkName
from ml.networks.resaunet import ResAUNet

NETWORKS: dict[NetworkName, Callable[[NetworkConfig, int], nn.Module]] = {
    NetworkName.RESAUNET: ResAUNet,
}


def build_network(config: NetworkConfig, input_channels: int = 1) -> nn.Module:
    """Build the configured network with fresh weights."""
    return NETWORKS[config.name](config, input_channels)
