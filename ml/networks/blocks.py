"""The building blocks of the networks: residual block, double convolution, channel attention."""

from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from ml.tensors import ChannelWeights, FeatureMaps, GateMaps, OutputMaps

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)

CHANNEL_MULTIPLE = 8
"""Scaled channel counts are whole multiples of this: vector units work in eights."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, the basic block of ResNet34.

    Reference: He et al., Deep Residual Learning for Image Recognition, 2015.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride=stride)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, features: FeatureMaps) -> OutputMaps:
        """Return the rectified sum of shortcut and residual."""
        residual = F.relu(self.norm1(self.conv1(features)))
        residual = self.norm2(self.conv2(residual))
        return F.relu(self.shortcut(features) + residual)


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, each followed by batch normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            conv3x3(in_channels, out_channels),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            conv3x3(out_channels, out_channels),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class ChannelAttention(nn.Module):
    """The paper's attention block: scales every channel of x by a weight found from x and g.

    q = Phi ReLU(Wg GAP(g) + Wx GAP(x)), a = sigmoid(q), out = a x, with biases on all three.

    Reference: Liu et al. 2024, equations 1 to 5.
    """

    def __init__(self, channels: int, gate_channels: int, *, reduction: int = 1) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.from_gate = nn.Linear(gate_channels, hidden)
        self.from_features = nn.Linear(channels, hidden)
        self.to_weights = nn.Linear(hidden, channels)

    def forward(self, features: FeatureMaps, gate: GateMaps) -> FeatureMaps:
        """Return the features with each channel scaled by its weight in (0, 1)."""
        return features * self.weights(features, gate)[:, :, None, None]

    def weights(self, features: FeatureMaps, gate: GateMaps) -> ChannelWeights:
        """Return the weight of every channel, in (0, 1)."""
        pooled_features = features.mean(dim=(2, 3))
        pooled_gate = gate.mean(dim=(2, 3))
        hidden = F.relu(self.from_gate(pooled_gate) + self.from_features(pooled_features))
        return torch.sigmoid(self.to_weights(hidden))


def scaled_channels(channels: int, width: float) -> int:
    """Scale a channel count, to a whole multiple of 8 and at least 8."""
    return max(CHANNEL_MULTIPLE, round(channels * width / CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE)


def conv3x3(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    """Build a 3x3 convolution without bias: a batch normalisation follows it always."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def channels_last(network: AnyNetwork) -> AnyNetwork:
    """Lay the weights out with channels innermost, in place, and return the network."""
    # .data keeps the parameters' identity; nn.Module.to has no typed overload for this
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def initialize(network: nn.Module) -> None:
    """Draw He-normal weights for convolutions and linear maps; biases 0, norms to identity.

    Reference: He et al., Delving Deep into Rectifiers, 2015.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)
