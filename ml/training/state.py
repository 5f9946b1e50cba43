"""Everything a run needs to go on as if it had never stopped."""

import copy
import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from ml.config import Precision, RunConfig, TrainingConfig
from ml.networks import build_network
from ml.networks.blocks import channels_last
from ml.training.early_stopping import EarlyStopping
from ml.training.schedule import build_optimizer
from ml.whole_files import written_whole

STATE_FILE = "state.pt"
CHANGEABLE_SETTINGS = ("max_epochs", "max_seconds", "patience")
"""A run may go on for longer than it was first meant to; all else would be another run."""


class StateMismatchError(ValueError):
    """A folder holds the state of a run with another configuration."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} holds a run with other settings; only training."
            f"{' and training.'.join(CHANGEABLE_SETTINGS)} may differ from it"
        )
        self.folder = folder


@dataclass(kw_only=True, slots=True)
class TrainingState:
    """A run between two epochs."""

    network: nn.Module
    mean_network: nn.Module | None
    """Running mean of the weights, where the run keeps one."""
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    """Of the gradients; disabled unless convolutions run in float16."""
    slice_generator: np.random.Generator
    augmentation_generator: torch.Generator
    early_stopping: EarlyStopping
    epoch: int = 0
    """Finished epochs."""
    step: int = 0
    seconds: float = 0.0
    """Spent in the finished epochs."""
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    """At the lowest validation loss, the paper's choice."""
    best_dice: float = -math.inf
    best_dice_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    """At the highest mean validation Dice."""

    @property
    def kept_network(self) -> nn.Module:
        """The network that is validated and kept."""
        return self.mean_network if self.mean_network is not None else self.network

    def is_over(self, training: TrainingConfig) -> bool:
        """Tell whether epochs, time or patience are used up: no further epoch is begun then."""
        is_late = training.max_seconds is not None and self.seconds >= training.max_seconds
        return is_late or self.epoch >= training.max_epochs or self.early_stopping.is_exhausted


def start_state(config: RunConfig, device: torch.device) -> TrainingState:
    """Draw fresh weights from the seed."""
    training = config.training
    torch.manual_seed(training.seed)
    network = channels_last(build_network(config.network, config.preprocessing.channel_count))
    network.to(device)
    is_half = training.precision is Precision.FLOAT16
    return TrainingState(
        network=network,
        mean_network=copy.deepcopy(network).requires_grad_(requires_grad=False)
        if training.ema_decay
        else None,
        optimizer=build_optimizer(network, training),
        scaler=torch.amp.GradScaler(device.type, enabled=is_half),
        slice_generator=np.random.default_rng(training.seed),
        augmentation_generator=torch.Generator().manual_seed(training.seed),
        early_stopping=EarlyStopping(patience=training.patience),
    )


def save_state(state: TrainingState, config: RunConfig, folder: Path) -> None:
    """Write the state, replacing the former in one rename."""
    mean = state.mean_network.state_dict() if state.mean_network is not None else {}
    stopping = state.early_stopping
    values = {
        "config": json.dumps(config.to_dict()),
        "network": state.network.state_dict(),
        "mean_network": mean,
        "optimizer": state.optimizer.state_dict(),
        "scaler": state.scaler.state_dict(),
        "slice_generator": json.dumps(state.slice_generator.bit_generator.state),
        "augmentation_generator": state.augmentation_generator.get_state(),
        "best_loss": stopping.best_loss,
        "epochs_without_improvement": stopping.epochs_without_improvement,
        "epoch": state.epoch,
        "step": state.step,
        "seconds": state.seconds,
        "best_weights": state.best_weights,
        "best_dice": state.best_dice,
        "best_dice_weights": state.best_dice_weights,
    }
    with written_whole(folder / STATE_FILE) as unfinished:
        torch.save(values, unfinished)


def load_state(config: RunConfig, folder: Path, device: torch.device) -> TrainingState:
    """Read a state; nothing but tensors and plain values is unpickled.

    Raises:
        StateMismatchError: the state is that of another configuration.
    """
    values = torch.load(folder / STATE_FILE, weights_only=True, map_location=device)
    if _fixed_settings(json.loads(values["config"])) != _fixed_settings(config.to_dict()):
        raise StateMismatchError(folder)
    state = start_state(config, device)
    state.network.load_state_dict(values["network"])
    if state.mean_network is not None:
        state.mean_network.load_state_dict(values["mean_network"])
    state.optimizer.load_state_dict(values["optimizer"])
    state.scaler.load_state_dict(values["scaler"])
    state.slice_generator.bit_generator.state = json.loads(values["slice_generator"])
    state.augmentation_generator.set_state(values["augmentation_generator"].cpu())
    state.early_stopping.best_loss = values["best_loss"]
    state.early_stopping.epochs_without_improvement = values["epochs_without_improvement"]
    for name in ("epoch", "step", "best_weights", "best_dice", "best_dice_weights"):
        setattr(state, name, values[name])
    # states of versions that kept no time lack it
    state.seconds = values.get("seconds", 0.0)
    return state


def load_or_start(config: RunConfig, folder: Path, device: torch.device) -> TrainingState:
    """Return the folder's state or, where it holds none, a fresh one."""
    if (folder / STATE_FILE).exists():
        return load_state(config, folder, device)
    return start_state(config, device)


def is_same_run(first: RunConfig, second: RunConfig) -> bool:
    """Tell whether configurations differ in nothing but when the run ends and what follows it."""
    return _fixed_settings(first.to_dict()) == _fixed_settings(second.to_dict())


def snapshot(network: nn.Module) -> dict[str, torch.Tensor]:
    """Copy the weights and norm statistics."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _fixed_settings(values: dict[str, object]) -> str:
    """Return what must not change as text in which tuples and lists are the same."""
    copied = json.loads(json.dumps(values))
    for name in CHANGEABLE_SETTINGS:
        # states of earlier versions lack what they did not know
        copied["training"].pop(name, None)
    # labels are made from logits after training
    copied.pop("postprocessing")
    return json.dumps(copied, sort_keys=True)
