"""Distances between the surfaces of two masks, in mm.

A surface voxel is a voxel of the mask with a neighbour across a face outside it; the border of
the array counts as outside (MetricsReloaded, MONAI). Where both masks are empty a measure is
nan, where one is it is infinite (surface Dice: 0); neither is ever dropped silently.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ml.arrays import AnyMask, CoordinatesMm

EQUATION_7_SHARE = 0.05
"""Linear interpolation of the 95th percentile of two numbers: 5 % of the smaller one."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SurfaceDistances:
    """From every surface voxel of one mask to the nearest of the other, both ways."""

    a_to_b: CoordinatesMm
    b_to_a: CoordinatesMm
    """Both empty where a mask is."""
    empty_masks: int
    """How many of the two masks have no voxel."""

    def hausdorff95_mm(self) -> float:
        """Return the larger of the directed 95th percentiles: the primary HD95."""
        if self.empty_masks:
            return self._distance_of_empty
        return max(_percentile95(self.a_to_b), _percentile95(self.b_to_a))

    def hausdorff95_pooled_mm(self) -> float:
        """Return the 95th percentile of both directions pooled, as medpy has it."""
        if self.empty_masks:
            return self._distance_of_empty
        return _percentile95(np.concatenate([self.a_to_b, self.b_to_a]))

    def hausdorff100_mm(self) -> float:
        """Return the Hausdorff distance."""
        if self.empty_masks:
            return self._distance_of_empty
        return float(max(self.a_to_b.max(), self.b_to_a.max()))

    def hausdorff_equation7_mm(self) -> float:
        """Return the paper's equation 7 read literally: a percentile of two full distances."""
        if self.empty_masks:
            return self._distance_of_empty
        low, high = sorted([float(self.a_to_b.max()), float(self.b_to_a.max())])
        return EQUATION_7_SHARE * low + (1 - EQUATION_7_SHARE) * high

    def average_mm(self) -> float:
        """Return the average symmetric surface distance (ASSD)."""
        if self.empty_masks:
            return self._distance_of_empty
        return float(np.concatenate([self.a_to_b, self.b_to_a]).mean())

    def surface_dice(self, tolerance_mm: float) -> float:
        """Return the share of both surfaces that lies within the tolerance of the other."""
        if self.empty_masks == 2:
            return math.nan
        if self.empty_masks:
            return 0.0
        both = np.concatenate([self.a_to_b, self.b_to_a])
        return float(np.count_nonzero(both <= tolerance_mm) / len(both))

    @property
    def _distance_of_empty(self) -> float:
        return math.nan if self.empty_masks == 2 else math.inf


def measure_surfaces(a: AnyMask, b: AnyMask, spacing_mm: tuple[float, ...]) -> SurfaceDistances:
    """Measure both directed sets of distances between masks of one shape."""
    empty = int(not a.any()) + int(not b.any())
    if empty:
        none = np.zeros(0)
        return SurfaceDistances(a_to_b=none, b_to_a=none, empty_masks=empty)
    # the box of both masks holds every surface voxel, so distances inside it are exact
    box = _box_of(a | b)
    surface_a, surface_b = surface_of(a[box]), surface_of(b[box])
    return SurfaceDistances(
        a_to_b=_distance_to(surface_b, spacing_mm)[surface_a],
        b_to_a=_distance_to(surface_a, spacing_mm)[surface_b],
        empty_masks=0,
    )


def hausdorff95_mm(a: AnyMask, b: AnyMask, spacing_mm: tuple[float, ...]) -> float:
    """Return the primary HD95: 3-D, mm, the larger of the directed 95th percentiles."""
    return measure_surfaces(a, b, spacing_mm).hausdorff95_mm()


def surface_of(mask: AnyMask) -> AnyMask:
    """Mark the voxels of a mask that touch its outside across a face."""
    padded = np.pad(mask, 1)
    inner = tuple(slice(1, -1) for _ in range(mask.ndim))
    return mask & np.logical_not(ndimage.binary_erosion(padded))[inner]


def _distance_to(surface: AnyMask, spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    distances = np.zeros(surface.shape)
    ndimage.distance_transform_edt(~surface, sampling=spacing_mm, distances=distances)
    return distances


def _box_of(mask: AnyMask) -> tuple[slice, ...]:
    """Return the smallest box around a mask that is not empty."""
    axes = range(mask.ndim)
    occupied = [np.flatnonzero(mask.any(axis=tuple(set(axes) - {axis}))) for axis in axes]
    return tuple(slice(int(found[0]), int(found[-1]) + 1) for found in occupied)


def _percentile95(distances: CoordinatesMm) -> float:
    return float(np.percentile(distances, 95))
