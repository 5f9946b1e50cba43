"""ImageNet weights for the encoder of ResAU-Net, from a local file."""

import hashlib
import pickle
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ml.networks.resaunet import ResAUNet
from ml.tensors import AnyMaps

_BLOCK_NAMES = {
    "conv1": "conv1",
    "norm1": "bn1",
    "conv2": "conv2",
    "norm2": "bn2",
    "shortcut.0": "downsample.0",
    "shortcut.1": "downsample.1",
}
"""Ours and torchvision's names of a residual block's parts."""


class EncoderWeightsError(ValueError):
    """A file does not hold weights for the encoder."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path.name}: {reason}")
        self.path = path
        self.reason = reason


def load_imagenet_encoder(network: ResAUNet, path: Path) -> str:
    """Put the weights of a ResNet34 classifier into the encoder; its last layer is left out.

    The first convolution's weights are summed over red, green and blue, which answers a grey image
    as the original answers its three equal channels; with several input channels each gets its
    share, so that equal channels still sum to the same.

    Args:
        network: of width 1; it is changed in place.
        path: a .safetensors file, or any other that torch.load can read without unpickling code,
            with the names of torchvision's resnet34.

    Returns:
        The file's sha256, for the run's record.

    Raises:
        EncoderWeightsError: the file cannot be read, or a tensor is missing or of another shape.
    """
    given = _read(path)
    own = network.encoder.state_dict()
    found: dict[str, torch.Tensor] = {}
    for name, theirs in _torchvision_names(own).items():
        if theirs not in given:
            raise EncoderWeightsError(path, f"{theirs} is missing")
        value = given[theirs]
        if name == "stem.weight":
            value = _for_channels(value, own[name].shape[1])
        if value.shape != own[name].shape:
            shapes = f"{tuple(given[theirs].shape)} instead of {tuple(own[name].shape)}"
            raise EncoderWeightsError(path, f"{theirs} has shape {shapes}")
        found[name] = value
    network.encoder.load_state_dict(found)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, SafetensorError) as error:
        raise EncoderWeightsError(path, f"cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise EncoderWeightsError(path, "holds no named tensors")
    return cast("dict[str, torch.Tensor]", values)


def _torchvision_names(own: dict[str, torch.Tensor]) -> dict[str, str]:
    """Return torchvision's name for every tensor of the encoder."""
    names: dict[str, str] = {}
    for name in own:
        prefix, _, kind = name.rpartition(".")
        if prefix == "stem":
            names[name] = f"conv1.{kind}"
        elif prefix == "norm":
            names[name] = f"bn1.{kind}"
        else:
            _, stage, block, part = prefix.split(".", 3)
            names[name] = f"layer{int(stage) + 1}.{block}.{_BLOCK_NAMES[part]}.{kind}"
    return names


def _for_channels(weights: AnyMaps, input_channels: int) -> AnyMaps:
    grey = weights.sum(dim=1, keepdim=True) / input_channels
    return grey.repeat(1, input_channels, 1, 1)
