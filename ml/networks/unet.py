"""U-Net with batch normalisation: double convolutions, max pooling, deconvolutions."""

import torch
from torch import nn
from torch.nn import functional as F

from ml.config import NetworkConfig
from ml.networks.base import SegmentationNetwork
from ml.networks.blocks import DoubleConv, initialize, scaled_channels
from ml.tensors import AnyMaps, FeatureMaps, ImageBatch, LogitBatch, OutputMaps, SkipMaps

CHANNELS = (64, 128, 256, 512, 1024)
"""Of the stages, from the finest; halved with width .5."""


class UNet(SegmentationNetwork):
    """Four halvings, then four doublings, each joined with the encoder's map of its size.

    Reference: Ronneberger et al., U-Net, MICCAI 2015; here with padded convolutions and batch
    normalisation.
    """

    size_multiple = 16

    def __init__(self, config: NetworkConfig, input_channels: int) -> None:
        channels = [scaled_channels(c, config.width) for c in CHANNELS]
        super().__init__(config, channels[-1])
        self.stages = nn.ModuleList(
            DoubleConv(before, after)
            for before, after in zip([input_channels, *channels[:-1]], channels, strict=True)
        )
        self.up_stages = nn.ModuleList(
            self.build_up_stage(low, high)
            for low, high in zip(channels[:0:-1], channels[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(channels[0], config.class_count, 1)
        initialize(self)

    def build_up_stage(self, in_channels: int, out_channels: int) -> nn.Module:
        """Build a stage of the decoder; its skip has as many channels as its output."""
        return UpStage(in_channels, out_channels)

    def encode(self, images: ImageBatch) -> list[AnyMaps]:
        """Return maps at the image's size, 1/2, 1/4, 1/8 and 1/16 of it."""
        return encode_pooled(self.stages, images)

    def decode(self, maps: list[AnyMaps]) -> LogitBatch:
        """Return logits from the encoder's feature maps."""
        *skips, features = maps
        for stage, skip in zip(self.up_stages, reversed(skips), strict=True):
            features = stage(features, skip)
        return self.head(features)


class UpStage(nn.Module):
    """Doubles the size of the features below and joins them with the skip."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        self.conv = DoubleConv(2 * out_channels, out_channels)

    def forward(self, below: FeatureMaps, skip: SkipMaps) -> OutputMaps:
        """Return features at the skip's size."""
        return self.conv(torch.cat([skip, self.up(below)], dim=1))


def encode_pooled(stages: nn.ModuleList, images: ImageBatch) -> list[AnyMaps]:
    """Return the map of every stage, with 2x2 max pooling between stages."""
    features = images
    maps: list[AnyMaps] = []
    for number, stage in enumerate(stages):
        features = stage(F.max_pool2d(features, 2) if number else features)
        maps.append(features)
    return maps
