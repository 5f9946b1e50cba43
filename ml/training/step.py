"""One update of the weights."""

import math

import torch
from torch import nn
from torch.optim import Optimizer

from ml.config import Precision
from ml.tensors import ImageBatch, LabelBatch, LogitBatch


class NonFiniteLossError(ArithmeticError):
    """The loss is infinite or not a number; the weights were not updated."""

    def __init__(self, value: float) -> None:
        super().__init__(f"the loss became {value}; training stopped before the update")
        self.value = value


def train_step(
    network: nn.Module,
    loss: nn.Module,
    optimizer: Optimizer,
    batch: tuple[ImageBatch, LabelBatch],
    precision: Precision,
) -> float:
    """Update the weights once and return the loss before the update.

    Raises:
        NonFiniteLossError: before the update.
    """
    images, labels = batch
    batch_loss = loss(run_network(network, images, precision), labels)
    value = batch_loss.item()
    if not math.isfinite(value):
        raise NonFiniteLossError(value)
    optimizer.zero_grad(set_to_none=True)
    batch_loss.backward()
    optimizer.step()
    return value


def run_network(network: nn.Module, images: ImageBatch, precision: Precision) -> LogitBatch:
    """Return float32 logits; the convolutions run at the precision asked for."""
    narrow = precision is Precision.BFLOAT16
    with torch.autocast(images.device.type, torch.bfloat16, enabled=narrow):
        logits = network(images.to(memory_format=torch.channels_last))
    return logits.float()
