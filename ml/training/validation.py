"""How good a network is on the network's own grid, cheap enough for every epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ml.augmentation.intensity import plain_window
from ml.config import RunConfig
from ml.data.cases import Case
from ml.data.slices import iterate_case
from ml.structures import StructureSet
from ml.training.step import run_network


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """Loss per pixel of all cases and 3-D Dice, mean over patients."""

    loss: float
    dice: dict[str, float]


@torch.no_grad()
def validate(
    network: nn.Module,
    loss: nn.Module,
    cases: Sequence[Case],
    config: RunConfig,
    structures: StructureSet,
) -> Validation:
    """Measure the network in evaluation mode; patients without a structure are left out of it."""
    network.eval()
    losses: list[float] = []
    dice: list[list[float]] = []
    for case in cases:
        counts = np.zeros((3, structures.class_count))
        for batch in iterate_case(case, config.preprocessing, config.training.batch_size):
            images = plain_window(batch.hu, config.preprocessing)
            logits = run_network(network, images, config.training.precision)
            losses.append(loss(logits, batch.labels).item())
            counts += _overlap_counts(logits.argmax(dim=1), batch.labels, structures.class_count)
        dice.append([_ratio(both, a + b) for both, a, b in counts.T[1:]])
    means = [_finite_mean([row[k] for row in dice]) for k in range(len(structures.structures))]
    return Validation(
        loss=float(np.mean(losses)), dice=dict(zip(structures.names, means, strict=True))
    )


def _overlap_counts(prediction: torch.Tensor, labels: torch.Tensor, class_count: int) -> np.ndarray:
    pairs = torch.bincount((prediction * class_count + labels).flatten(), minlength=class_count**2)
    table = pairs.reshape(class_count, class_count).numpy()
    return np.stack([np.diag(table), table.sum(axis=1), table.sum(axis=0)])


def _ratio(both: float, total: float) -> float:
    return 2 * both / total if total else math.nan


def _finite_mean(values: list[float]) -> float:
    finite = [v for v in values if not math.isnan(v)]
    return float(np.mean(finite)) if finite else math.nan
