"""The losses a run can minimise, by name."""

from collections.abc import Callable

from torch import nn

from ml.config import LossName
from ml.losses.compound import CrossEntropyDice

LOSSES: dict[LossName, Callable[[], nn.Module]] = {
    LossName.CE_DICE: CrossEntropyDice,
}
