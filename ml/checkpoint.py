"""Weights that explain themselves: a safetensors file beside a readable json card."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ml.config import RunConfig
from ml.networks import build_network
from ml.networks.base import SegmentationNetwork
from ml.whole_files import write_whole

CARD_SUFFIX = ".json"
DEMO_WEIGHTS_NAME = "resaunet-demo.safetensors"


class CheckpointError(Exception):
    """A checkpoint cannot be trusted or read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path.name}: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointCard:
    """What is known about weights, in plain words and json types."""

    model_version: str
    """Name of these weights, unique among all that were ever served."""
    intended_use: str
    command: str = ""
    """What was run to find the weights."""
    data: dict[str, Any] = field(default_factory=dict)  # Any: json facts about the cases
    metrics: dict[str, Any] = field(default_factory=dict)  # Any: json tables of numbers
    parameters: int = 0
    library_versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Checkpoint:
    """Weights with the configuration that gives them meaning."""

    run_config: RunConfig
    card: CheckpointCard
    weights: Mapping[str, torch.Tensor]
    sha256: str
    """Of the weights file; "" before it is saved."""

    def build_network(self) -> SegmentationNetwork:
        """Return the network with these weights, in evaluation mode.

        Raises:
            CheckpointError: the weights are not those of the configured network.
        """
        network = build_network(
            self.run_config.network, self.run_config.preprocessing.channel_count
        )
        try:
            network.load_state_dict({k: v.float() for k, v in self.weights.items()}, strict=True)
        except RuntimeError as error:
            raise CheckpointError(
                Path(self.card.model_version), "the weights are not those of the network"
            ) from error
        return network.eval()


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> str:
    """Write weights and card (same name, .json) and return the weights' sha256."""
    contiguous = {name: value.contiguous() for name, value in checkpoint.weights.items()}
    content = save_tensors(contiguous)
    digest = hashlib.sha256(content).hexdigest()
    card = {
        "weights_sha256": digest,
        "weights_bytes": len(content),
        **dataclasses.asdict(checkpoint.card),
        "run_config": checkpoint.run_config.to_dict(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
    write_whole(path.with_suffix(CARD_SUFFIX), json.dumps(card, indent=2) + "\n")
    return digest


def load_checkpoint(path: Path) -> Checkpoint:
    """Read weights whose sha256 is the one on their card.

    Raises:
        CheckpointError: a file is missing, the card is no card, or the weights were changed.
    """
    try:
        content = path.read_bytes()
        values = json.loads(path.with_suffix(CARD_SUFFIX).read_text())
        expected = values.pop("weights_sha256")
        values.pop("weights_bytes")
        run_config = RunConfig.from_dict(values.pop("run_config"))
        card = CheckpointCard(**values)
    except FileNotFoundError as error:
        raise CheckpointError(path, "weights or card are missing") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(path, f"the card cannot be read: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise CheckpointError(path, f"sha256 is {digest}, the card says {expected}")
    try:
        weights = load_tensors(content)
    except SafetensorError as error:
        raise CheckpointError(path, f"the weights cannot be read: {error}") from error
    return Checkpoint(run_config=run_config, card=card, weights=weights, sha256=digest)


def demo_weights_path() -> Path:
    """Return where the packaged demonstration weights lie."""
    return Path(__file__).parent / "weights" / DEMO_WEIGHTS_NAME
