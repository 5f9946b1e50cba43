"""Distances between the surfaces of two masks, in mm.

A surface voxel is a voxel of the mask with a neighbour across a face outside it; the border of
the array counts as outside (MetricsReloaded, MONAI). Where both masks are empty a measure is
nan, where one is it is infinite (surface Dice: 0); neither is ever dropped silently.

Distances are exact: every surface voxel looks up its nearest voxel of the other surface in a k-d
tree, and voxels that lie on both surfaces are known to be 0 without a search.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from ml.arrays import AnyMask, CoordinatesMm

EQUATION_7_SHARE = 0.05
"""Linear interpolation of the 95th percentile of two numbers: 5 % of the smaller one."""
TOLERANCE_ROUNDING_MM = 1e-6
"""A distance equal to a tolerance lies within it, whatever the last bit of its root is."""
LEAF_SIZE = 32
"""Points of a tree's leaf that are tried one by one."""


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
        return max(percentile95(self.a_to_b), percentile95(self.b_to_a))

    def hausdorff95_pooled_mm(self) -> float:
        """Return the 95th percentile of both directions pooled, as medpy has it."""
        if self.empty_masks:
            return self._distance_of_empty
        return percentile95(np.concatenate([self.a_to_b, self.b_to_a]))

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
        return float(np.count_nonzero(both <= tolerance_mm + TOLERANCE_ROUNDING_MM) / len(both))

    @property
    def _distance_of_empty(self) -> float:
        return math.nan if self.empty_masks == 2 else math.inf


def measure_surfaces(a: AnyMask, b: AnyMask, spacing_mm: tuple[float, ...]) -> SurfaceDistances:
    """Measure both directed sets of distances between masks of one shape.

    Args:
        a: one mask of any rank.
        b: the other, of the same shape.
        spacing_mm: distance of neighbouring voxels along every axis.
    """
    empty = int(not a.any()) + int(not b.any())
    if empty:
        none = np.zeros(0)
        return SurfaceDistances(a_to_b=none, b_to_a=none, empty_masks=empty)
    # the box of both masks holds every surface voxel, so distances inside it are exact
    box = box_of(a | b)
    surface_a, surface_b = surface_of(a[box]), surface_of(b[box])
    return SurfaceDistances(
        a_to_b=distances_between(surface_a, surface_b, spacing_mm),
        b_to_a=distances_between(surface_b, surface_a, spacing_mm),
        empty_masks=0,
    )


def hausdorff95_mm(a: AnyMask, b: AnyMask, spacing_mm: tuple[float, ...]) -> float:
    """Return the primary HD95: 3-D, mm, the larger of the directed 95th percentiles."""
    return measure_surfaces(a, b, spacing_mm).hausdorff95_mm()


def surface_of(mask: AnyMask, axes: tuple[int, ...] | None = None) -> AnyMask:
    """Mark the voxels of a mask that touch its outside across a face.

    Args:
        mask: a mask of any rank; beyond its border is outside.
        axes: look for the outside along these axes only; all without it.
    """
    core = mask.copy()
    for axis in range(mask.ndim) if axes is None else axes:
        along, kept = np.moveaxis(mask, axis, 0), np.moveaxis(core, axis, 0)
        kept[1:] &= along[:-1]
        kept[:-1] &= along[1:]
        kept[[0, -1]] = False
    return mask & ~core


def distances_between(of: AnyMask, to: AnyMask, spacing_mm: tuple[float, ...]) -> CoordinatesMm:
    """Return the distance in mm of every set voxel of one mask to the nearest of the other.

    Args:
        of: voxels whose distances are wanted, in the array's order.
        to: at least one voxel, on the same grid.
        spacing_mm: distance of neighbouring voxels along every axis.
    """
    spacing = np.asarray(spacing_mm)
    distances = np.zeros(np.count_nonzero(of))
    apart = ~to[of]
    if apart.any():
        targets = np.argwhere(to)
        wanted = np.argwhere(of)[apart]
        # measured on organs: the fastest to build and to search; grids are spread evenly
        tree = KDTree(targets * spacing, LEAF_SIZE, balanced_tree=False, compact_nodes=False)
        _, nearest = tree.query(wanted * spacing)
        # whole steps times spacing: no rounding of far coordinates
        distances[apart] = np.linalg.norm((wanted - targets[nearest]) * spacing, axis=1)
    return distances


def box_of(mask: AnyMask) -> tuple[slice, ...]:
    """Return the smallest box around the set voxels of a mask that is not empty."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        others = tuple(set(range(mask.ndim)) - {axis})
        found = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(found[0]), int(found[-1]) + 1))
        # later axes need only look inside what is found already
        mask = mask[(slice(None),) * axis + (box[-1],)]
    return tuple(box)


def percentile95(distances: CoordinatesMm) -> float:
    """Return the 95th percentile, linearly interpolated."""
    return float(np.percentile(distances, 95))
