"""Everything a run needs to go on as if it had never stopped."""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from ml.config import RunConfig
from ml.networks import build_network
from ml.networks.blocks import channels_last
from ml.training.early_stopping import EarlyStopping
from ml.training.schedule import build_optimizer

STATE_FILE = "state.pt"


@dataclass(kw_only=True, slots=True)
class TrainingState:
    """A run between two epochs."""

    network: nn.Module
    mean_network: nn.Module | None
    """Running mean of the weights, where the run keeps one."""
    optimizer: Optimizer
    slice_generator: np.random.Generator
    augmentation_generator: torch.Generator
    early_stopping: EarlyStopping
    epoch: int = 0
    """Finished epochs."""
    step: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def kept_network(self) -> nn.Module:
        """The network that is validated and kept."""
        return self.mean_network if self.mean_network is not None else self.network


def start_state(config: RunConfig) -> TrainingState:
    """Draw fresh weights from the seed."""
    training = config.training
    torch.manual_seed(training.seed)
    network = channels_last(build_network(config.network, config.preprocessing.channel_count))
    return TrainingState(
        network=network,
        mean_network=copy.deepcopy(network).requires_grad_(requires_grad=False)
        if training.ema_decay
        else None,
        optimizer=build_optimizer(network, training),
        slice_generator=np.random.default_rng(training.seed),
        augmentation_generator=torch.Generator().manual_seed(training.seed),
        early_stopping=EarlyStopping(patience=training.patience),
    )


def save_state(state: TrainingState, folder: Path) -> None:
    """Write the state, replacing the former in one rename."""
    mean = state.mean_network.state_dict() if state.mean_network is not None else {}
    stopping = state.early_stopping
    values = {
        "network": state.network.state_dict(),
        "mean_network": mean,
        "optimizer": state.optimizer.state_dict(),
        "slice_generator": json.dumps(state.slice_generator.bit_generator.state),
        "augmentation_generator": state.augmentation_generator.get_state(),
        "best_loss": stopping.best_loss,
        "epochs_without_improvement": stopping.epochs_without_improvement,
        "epoch": state.epoch,
        "step": state.step,
        "best_weights": state.best_weights,
    }
    temporary = folder / f"{STATE_FILE}.part"
    torch.save(values, temporary)
    temporary.replace(folder / STATE_FILE)


def load_state(config: RunConfig, folder: Path) -> TrainingState:
    """Read a state; nothing but tensors and plain values is unpickled."""
    values = torch.load(folder / STATE_FILE, weights_only=True)
    state = start_state(config)
    state.network.load_state_dict(values["network"])
    if state.mean_network is not None:
        state.mean_network.load_state_dict(values["mean_network"])
    state.optimizer.load_state_dict(values["optimizer"])
    state.slice_generator.bit_generator.state = json.loads(values["slice_generator"])
    state.augmentation_generator.set_state(values["augmentation_generator"])
    state.early_stopping.best_loss = values["best_loss"]
    state.early_stopping.epochs_without_improvement = values["epochs_without_improvement"]
    state.epoch, state.step = values["epoch"], values["step"]
    state.best_weights = values["best_weights"]
    return state


def snapshot(network: nn.Module) -> dict[str, torch.Tensor]:
    """Copy the weights and norm statistics."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
