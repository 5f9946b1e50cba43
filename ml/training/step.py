"""One update of the weights."""

import math

import torch
from torch import nn
from torch.optim import Optimizer

from ml.tensors import ImageBatch, LabelBatch
from ml.training.objective import Objective


class NonFiniteLossError(ArithmeticError):
    """The loss is infinite or not a number, so there are no weights worth keeping."""

    def __init__(self, value: float, reason: str = "training stopped before the update") -> None:
        super().__init__(f"the loss became {value}; {reason}")
        self.value = value


def train_step(
    network: nn.Module,
    objective: Objective,
    optimizer: Optimizer,
    scaler: torch.amp.GradScaler,
    batch: tuple[ImageBatch, LabelBatch],
    micro_batch_size: int | None = None,
) -> float:
    """Update the weights once and return the loss before the update.

    With micro batches gradients are added up over parts of the batch, each weighted by its share.
    That is the gradient of the whole batch for losses that are means over pixels, but not quite
    the same training: norms take their statistics from each part, and Dice and Lovász are ratios
    over the pixels of a part.

    Raises:
        NonFiniteLossError: before the update.
    """
    images, labels = batch
    size = micro_batch_size or len(images)
    optimizer.zero_grad(set_to_none=True)
    value = 0.0
    for part, truth in zip(images.split(size), labels.split(size), strict=True):
        loss = objective(network, part, truth)[0] * (len(part) / len(images))
        value += loss.item()
        if not math.isfinite(value):
            raise NonFiniteLossError(value)
        scaler.scale(loss).backward()
    # without float16 the scaler is disabled and passes everything on
    scaler.step(optimizer)
    scaler.update()
    return value
