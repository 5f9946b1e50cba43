"""ResAU-Net: a ResNet34 encoder, a U-Net decoder and channel attention on every skip."""

import torch
from torch import nn
from torch.nn import functional as F

from ml.config import FinalUpsampling, GatedInput, NetworkConfig
from ml.networks.base import SegmentationNetwork
from ml.networks.blocks import (
    ChannelAttention,
    DoubleConv,
    ResidualBlock,
    initialize,
    scaled_channels,
)
from ml.tensors import AnyMaps, FeatureMaps, ImageBatch, LogitBatch, OutputMaps, SkipMaps

ENCODER_CHANNELS = (64, 64, 128, 256, 512)
ENCODER_BLOCKS = (3, 4, 6, 3)
DECODER_CHANNELS = (256, 128, 64, 64)
FINAL_CHANNELS = 32


class ResAUNet(SegmentationNetwork):
    """The paper's network.

    Where the paper is silent: all four skips are gated, hidden layers of the gates are as wide as
    the skip, the decoder has 256, 128, 64 and 64 channels, and a deconvolution to 32 channels with
    a double convolution restores the image's size (or bilinear doubling with nothing after it).

    Reference: Liu et al., J Biotech Res 2024;17:166-179.
    """

    size_multiple = 32

    def __init__(self, config: NetworkConfig, input_channels: int) -> None:
        channels = [scaled_channels(c, config.width) for c in ENCODER_CHANNELS]
        decoder = [scaled_channels(c, config.width) for c in DECODER_CHANNELS]
        super().__init__(config, channels[-1])
        self.encoder = ResNetEncoder(channels, input_channels)
        skips = channels[-2::-1]
        below = [channels[-1], *decoder[:-1]]
        self.up_stages = nn.ModuleList(
            UpStage(low, skip, out, config)
            for low, skip, out in zip(below, skips, decoder, strict=True)
        )
        final = decoder[-1]
        if config.final_upsampling is FinalUpsampling.DECONVOLUTION:
            final = scaled_channels(FINAL_CHANNELS, config.width)
            self.final_up = nn.ConvTranspose2d(decoder[-1], final, 2, stride=2)
            self.final_conv = DoubleConv(final, final)
        else:
            self.final_up = nn.Upsample(scale_factor=2, mode="bilinear")
            self.final_conv = nn.Identity()
        self.head = nn.Conv2d(final, config.class_count, 1)
        initialize(self)

    def encode(self, images: ImageBatch) -> list[AnyMaps]:
        """Return maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's size."""
        return self.encoder(images)

    def decode(self, maps: list[AnyMaps]) -> LogitBatch:
        """Return logits from the encoder's feature maps."""
        *skips, features = maps
        for stage, skip in zip(self.up_stages, reversed(skips), strict=True):
            features = stage(features, skip)
        return self.head(self.final_conv(self.final_up(features)))


class ResNetEncoder(nn.Module):
    """ResNet34 without its classifier.

    Reference: He et al., Deep Residual Learning for Image Recognition, 2015.
    """

    def __init__(self, channels: list[int], input_channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(input_channels, channels[0], 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(channels[0])
        self.stages = nn.ModuleList(
            _residual_stage(channels[i], channels[i + 1], count, stride=1 if i == 0 else 2)
            for i, count in enumerate(ENCODER_BLOCKS)
        )

    def forward(self, images: ImageBatch) -> list[AnyMaps]:
        """Return feature maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's size."""
        features = F.relu(self.norm(self.stem(images)))
        maps = [features]
        features = F.max_pool2d(features, 3, stride=2, padding=1)
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps


class UpStage(nn.Module):
    """Doubles the size of the features below and joins them with a gated skip."""

    def __init__(
        self, in_channels: int, skip_channels: int, out_channels: int, config: NetworkConfig
    ) -> None:
        super().__init__()
        self.gated_input = config.gated_input
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        gates_skip = config.gated_input is GatedInput.SKIP
        self.attention = ChannelAttention(
            skip_channels if gates_skip else out_channels,
            out_channels if gates_skip else skip_channels,
            reduction=config.attention_reduction,
        )
        self.conv = DoubleConv(skip_channels + out_channels, out_channels)

    def forward(self, below: FeatureMaps, skip: SkipMaps) -> OutputMaps:
        """Return features at the skip's size."""
        raised = self.up(below)
        if self.gated_input is GatedInput.SKIP:
            skip = self.attention(skip, raised)
        else:
            raised = self.attention(raised, skip)
        return self.conv(torch.cat([skip, raised], dim=1))


def _residual_stage(
    in_channels: int, out_channels: int, count: int, *, stride: int
) -> nn.Sequential:
    first = ResidualBlock(in_channels, out_channels, stride=stride)
    return nn.Sequential(
        first, *(ResidualBlock(out_channels, out_channels) for _ in range(count - 1))
    )
