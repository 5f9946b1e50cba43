"""The losses a run can minimise, by name."""

from collections.abc import Callable

from torch import nn

from ml.config import LossConfig, LossName
from ml.losses.compound import CrossEntropyDice

LOSSES: dict[LossName, Callable[[LossConfig], nn.Module]] = {
    LossName.CE_DICE: CrossEntropyDice,
}


def build_loss(config: LossConfig) -> nn.Module:
    """Build the configured loss of logits and labels."""
    return LOSSES[config.name](config)
