"""UNet++: a U-Net whose skips are themselves small decoders."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import nn

from ml.config import NetworkConfig
from ml.networks.base import SegmentationNetwork
from ml.networks.blocks import DoubleConv, initialize, scaled_channels
from ml.networks.unet import CHANNELS, encode_pooled
from ml.tensors import AnyMaps, ImageBatch, LogitBatch, OutputMaps


class UNetPlusPlus(SegmentationNetwork):
    """Nodes X(i, j): depth i, j-th along the skip; X(i, j) sees X(i, 0..j-1) and X(i+1, j-1).

    Every node of the finest depth beyond the encoder has a head; logits are the mean of the four,
    the paper's accurate mode.

    Reference: Zhou et al., UNet++: A Nested U-Net Architecture for Medical Image Segmentation,
    DLMIA 2018, equation 1; written from the paper.
    """

    size_multiple = 16

    def __init__(self, config: NetworkConfig, input_channels: int) -> None:
        channels = [scaled_channels(c, config.width) for c in CHANNELS]
        super().__init__(config, channels[-1])
        depth = len(channels) - 1
        self.stages = nn.ModuleList(
            DoubleConv(before, after)
            for before, after in zip([input_channels, *channels[:-1]], channels, strict=True)
        )
        self.columns = nn.ModuleList(
            nn.ModuleList(
                NestedNode(channels[i + 1], channels[i], skip_count=j) for i in range(depth - j + 1)
            )
            for j in range(1, depth + 1)
        )
        self.heads = nn.ModuleList(
            nn.Conv2d(channels[0], config.class_count, 1) for _ in range(depth)
        )
        initialize(self)

    def encode(self, images: ImageBatch) -> list[AnyMaps]:
        """Return maps at the image's size, 1/2, 1/4, 1/8 and 1/16 of it."""
        return encode_pooled(self.stages, images)

    def decode(self, maps: list[AnyMaps]) -> LogitBatch:
        """Return logits from the encoder's feature maps."""
        rows = [[features] for features in maps]
        for column in cast("Iterable[nn.ModuleList]", self.columns):
            for depth, node in enumerate(column):
                rows[depth].append(node(rows[depth + 1][-1], rows[depth]))
        logits = [head(node) for head, node in zip(self.heads, rows[0][1:], strict=True)]
        return torch.stack(logits).mean(dim=0)


class NestedNode(nn.Module):
    """Doubles the size of the node below and joins it with all nodes before on the same depth."""

    def __init__(self, below_channels: int, channels: int, *, skip_count: int) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.conv = DoubleConv(skip_count * channels + below_channels, channels)

    def forward(self, below: AnyMaps, before: list[AnyMaps]) -> OutputMaps:
        """Return features at the size of the nodes before."""
        return self.conv(torch.cat([*before, self.up(below)], dim=1))
