"""Attention U-Net: a U-Net whose skips are scaled pixel by pixel."""

import torch
from torch import nn
from torch.nn import functional as F

from ml.networks.blocks import DoubleConv
from ml.networks.unet import UNet
from ml.tensors import FeatureMaps, OutputMaps, SkipMaps, SpatialWeights


class AttentionUNet(UNet):
    """U-Net with additive attention gates on all skips.

    Reference: Oktay et al., Attention U-Net: Learning Where to Look for the Pancreas, 2018. The
    gating signal is the raised map of the decoder, so that both of a gate's inputs have one size.
    """

    def build_up_stage(self, in_channels: int, out_channels: int) -> nn.Module:
        """Build a stage of the decoder with a gate on its skip."""
        return GatedUpStage(in_channels, out_channels)


class GatedUpStage(nn.Module):
    """Doubles the size of the features below and joins them with the gated skip."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        self.gate = SpatialAttention(out_channels)
        self.conv = DoubleConv(2 * out_channels, out_channels)

    def forward(self, below: FeatureMaps, skip: SkipMaps) -> OutputMaps:
        """Return features at the skip's size."""
        raised = self.up(below)
        return self.conv(torch.cat([self.gate(skip, raised), raised], dim=1))


class SpatialAttention(nn.Module):
    """Additive attention: one weight for every pixel, the same for all channels.

    a = sigmoid(BN(psi ReLU(BN(Wx x) + BN(Wg g)))), out = a x, with 1x1 convolutions to half as
    many channels.

    Reference: Oktay et al. 2018, equations 1 and 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 2
        self.from_features = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.BatchNorm2d(hidden))
        self.from_gate = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.BatchNorm2d(hidden))
        self.to_weights = nn.Sequential(nn.Conv2d(hidden, 1, 1), nn.BatchNorm2d(1))

    def forward(self, features: FeatureMaps, gate: FeatureMaps) -> FeatureMaps:
        """Return the features with every pixel scaled by its weight in (0, 1)."""
        return features * self.weights(features, gate)

    def weights(self, features: FeatureMaps, gate: FeatureMaps) -> SpatialWeights:
        """Return the weight of every pixel, in (0, 1)."""
        hidden = F.relu(self.from_features(features) + self.from_gate(gate))
        return torch.sigmoid(self.to_weights(hidden))
