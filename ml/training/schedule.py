"""Optimisers, the course of the learning rate, and the running mean of the weights."""

import math

import torch
from torch import nn
from torch.optim import Adam, AdamW, Optimizer

from ml.config import OptimizerName, ScheduleName, TrainingConfig

POLY_EXPONENT = 0.9
"""Exponent of the polynomial decay, as nnU-Net has it."""

_OPTIMIZERS: dict[OptimizerName, type[Adam]] = {
    OptimizerName.ADAM: Adam,
    OptimizerName.ADAMW: AdamW,
}


def build_optimizer(network: nn.Module, config: TrainingConfig) -> Optimizer:
    """Build the configured optimiser; norms and biases do not decay."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    kept = [p for p in network.parameters() if p.ndim <= 1]
    return _OPTIMIZERS[config.optimizer](
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": kept, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        # one pass over all parameters instead of ten: 5 ms of a step of 140
        fused=True,
    )


def learning_rate_at(step: int, total_steps: int, config: TrainingConfig) -> float:
    """Return the learning rate of a step counted from 0."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    factors = {
        ScheduleName.CONSTANT: 1.0,
        ScheduleName.COSINE: (1 + math.cos(math.pi * min(1.0, done))) / 2,
        ScheduleName.POLY: max(0.0, 1 - done) ** POLY_EXPONENT,
    }
    return config.learning_rate * factors[config.schedule]


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Give every group of parameters the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


@torch.no_grad()
def update_mean(mean: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the mean of weights and norm statistics a step towards the network."""
    for value, current in zip(mean.parameters(), network.parameters(), strict=True):
        value.lerp_(current, 1 - decay)
    for value, current in zip(mean.buffers(), network.buffers(), strict=True):
        if value.is_floating_point():
            value.lerp_(current, 1 - decay)
        else:
            value.copy_(current)
