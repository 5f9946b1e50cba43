"""The losses a run can minimise, by name."""

from collections.abc import Callable

from torch import nn

from ml.config import LossConfig, LossName
from ml.losses.ce import CrossEntropy
from ml.losses.compound import CrossEntropyDice, CrossEntropyLovasz
from ml.losses.dice import Dice
from ml.losses.lovasz import LovaszSoftmax
from ml.losses.sce import SymmetricCrossEntropy

LOSSES: dict[LossName, Callable[[LossConfig], nn.Module]] = {
    LossName.CE: CrossEntropy,
    LossName.SCE: SymmetricCrossEntropy,
    LossName.DICE: Dice,
    LossName.LOVASZ: LovaszSoftmax,
    LossName.CE_DICE: CrossEntropyDice,
    LossName.CE_LOVASZ: CrossEntropyLovasz,
}


def build_loss(config: LossConfig) -> nn.Module:
    """Build the configured loss of logits and labels."""
    return LOSSES[config.name](config)
