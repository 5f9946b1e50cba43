"""Two-dimensional measures averaged over slices: what the paper's numbers look like (a.4).

They hide errors along z (surplus and missing slices have no distance) and are not to be compared
with three-dimensional results; they are here so that the paper's table can be read.
"""

import math
from dataclasses import dataclass

import numpy as np

from ml.arrays import MaskVolume
from ml.metrics.surface import box_of, distances_between, percentile95, surface_of


@dataclass(frozen=True, kw_only=True, slots=True)
class SlicewiseScores:
    """Means over the slices of one structure."""

    dice: float
    """Slices without the structure in both masks left out; in one only: 0; nan without slices."""
    dice_both_empty_1: float
    """Slices without the structure in both masks count 1."""
    hd95_mm: float
    """Over the slices that show the structure in both masks; nan if there is none."""
    slices_with_both: int


def measure_slices(
    prediction: MaskVolume, reference: MaskVolume, pixel_spacing_mm: tuple[float, float]
) -> SlicewiseScores:
    """Measure every slice on its own and average.

    Args:
        prediction: a mask; slices along the first axis.
        reference: the truth on the same grid.
        pixel_spacing_mm: between rows, between columns.
    """
    overlap = np.count_nonzero(prediction & reference, axis=(1, 2))
    sizes = np.count_nonzero(prediction, axis=(1, 2)), np.count_nonzero(reference, axis=(1, 2))
    total = sizes[0] + sizes[1]
    shown = total > 0
    dice = 2 * overlap[shown] / total[shown]
    both = (sizes[0] > 0) & (sizes[1] > 0)
    hd95 = math.nan
    if both.any():
        hd95 = _mean_hausdorff95_mm(prediction[both], reference[both], pixel_spacing_mm)
    return SlicewiseScores(
        dice=float(dice.mean()) if len(dice) else math.nan,
        dice_both_empty_1=float((dice.sum() + np.count_nonzero(~shown)) / len(shown)),
        hd95_mm=hd95,
        slices_with_both=int(np.count_nonzero(both)),
    )


def _mean_hausdorff95_mm(
    a: MaskVolume, b: MaskVolume, pixel_spacing_mm: tuple[float, float]
) -> float:
    """Return the mean 2-D HD95 of slices that are empty in neither mask."""
    box = box_of(a | b)
    a, b = a[box], b[box]
    # slices further apart than a slice is wide: the nearest point always lies in the own slice
    size = np.asarray(a.shape[1:]) * pixel_spacing_mm
    spacing = (2 * float(np.linalg.norm(size)), *pixel_spacing_mm)
    outlines = surface_of(a, axes=(1, 2)), surface_of(b, axes=(1, 2))
    directed = []
    for of, to in (outlines, outlines[::-1]):
        ends = np.cumsum(np.count_nonzero(of, axis=(1, 2)))[:-1]
        parts = np.split(distances_between(of, to, spacing), ends)
        directed.append([percentile95(part) for part in parts])
    return float(np.max(directed, axis=0).mean())
