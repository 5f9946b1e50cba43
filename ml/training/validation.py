"""How good a network is on the network's own grid, cheap enough for every epoch."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ml.augmentation.intensity import plain_channels
from ml.config import RunConfig
from ml.data.cases import Case
from ml.data.slices import iterate_case
from ml.structures import StructureSet
from ml.training.objective import Objective
from ml.training.reporter import StopRequestedError


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """Loss, mean over slices, and 3-D Dice, mean over cases."""

    loss: float
    dice: dict[str, float]

    @property
    def mean_dice(self) -> float:
        """Mean over structures; not a number where no case shows any."""
        return _finite_mean(list(self.dice.values()))


def _never() -> bool:
    return False


@torch.no_grad()
def validate(
    network: nn.Module,
    objective: Objective,
    cases: Sequence[Case],
    config: RunConfig,
    structures: StructureSet,
    should_stop: Callable[[], bool] = _never,
) -> Validation:
    """Measure the network in evaluation mode.

    A case without a structure, in truth and prediction, is left out of that structure's mean.

    Raises:
        StopRequestedError: `should_stop`, asked before every batch, said so.
    """
    network.eval()
    device = next(network.parameters()).device
    losses: list[float] = []
    slices: list[int] = []
    dice: list[list[float]] = []
    for case in cases:
        counts = np.zeros((3, structures.class_count))
        for batch in iterate_case(case, config.preprocessing, config.training.batch_size):
            if should_stop():
                raise StopRequestedError
            images = plain_channels(batch.hu, config.preprocessing).to(device)
            labels = batch.labels.to(device)
            loss, logits = objective(network, images, labels)
            losses.append(loss.item())
            slices.append(len(labels))
            counts += _overlap_counts(logits.argmax(dim=1), labels, structures.class_count)
        dice.append([_ratio(both, a + b) for both, a, b in counts.T[1:]])
    means = [_finite_mean([row[k] for row in dice]) for k in range(len(structures.structures))]
    return Validation(
        loss=float(np.average(losses, weights=slices)),
        dice=dict(zip(structures.names, means, strict=True)),
    )


def _overlap_counts(prediction: torch.Tensor, labels: torch.Tensor, class_count: int) -> np.ndarray:
    pairs = (prediction * class_count + labels).flatten().cpu().numpy()
    table = np.bincount(pairs, minlength=class_count**2).reshape(class_count, class_count)
    return np.stack([np.diag(table), table.sum(axis=1), table.sum(axis=0)])


def _ratio(both: float, total: float) -> float:
    return 2 * both / total if total else math.nan


def _finite_mean(values: list[float]) -> float:
    finite = [v for v in values if not math.isnan(v)]
    return float(np.mean(finite)) if finite else math.nan
