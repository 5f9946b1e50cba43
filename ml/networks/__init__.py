"""The networks a run can train, by name."""

from collections.abc import Callable

from ml.config import NetworkConfig, NetworkName
from ml.networks.attention_unet import AttentionUNet
from ml.networks.base import SegmentationNetwork
from ml.networks.resaunet import ResAUNet
from ml.networks.unet import UNet
from ml.networks.unet_plus_plus import UNetPlusPlus

NETWORKS: dict[NetworkName, Callable[[NetworkConfig, int], SegmentationNetwork]] = {
    NetworkName.RESAUNET: ResAUNet,
    NetworkName.UNET: UNet,
    NetworkName.ATTENTION_UNET: AttentionUNet,
    NetworkName.UNET_PLUS_PLUS: UNetPlusPlus,
}


def build_network(config: NetworkConfig, input_channels: int = 1) -> SegmentationNetwork:
    """Build the configured network with fresh weights."""
    return NETWORKS[config.name](config, input_channels)
