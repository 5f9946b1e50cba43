"""Slices that lack a structure between slices that have it."""

import itertools

import numpy as np
from scipy import ndimage

from ml.arrays import DistanceSlice, LabelVolume, MaskSlice


def fill_gaps(
    labels: LabelVolume, number: int, max_slices: int, pixel_spacing_mm: tuple[float, float]
) -> None:
    """Draw a structure, in place, in gaps of at most max_slices slices.

    Between the nearest slices that have it, signed distances to its border are interpolated
    linearly, and the structure is where they are negative (shape-based interpolation, Raya and
    Udupa 1990). Only background gives way.

    Args:
        labels: labels of slices in their order along the normal.
        number: label value of the structure.
        max_slices: longest gap that is filled; 0 fills none.
        pixel_spacing_mm: distances of rows and of columns.
    """
    if not max_slices:
        return
    shown = np.flatnonzero((labels == number).any(axis=(1, 2)))
    for first, last in itertools.pairwise(shown):
        if 1 < last - first <= max_slices + 1:
            _fill(labels[first : last + 1], number, pixel_spacing_mm)


def _fill(part: LabelVolume, number: int, pixel_spacing_mm: tuple[float, float]) -> None:
    """Interpolate between the outer slices of a part."""
    below = _signed_distance(part[0] == number, pixel_spacing_mm)
    above = _signed_distance(part[-1] == number, pixel_spacing_mm)
    steps = len(part) - 1
    for step in range(1, steps):
        between = below + (above - below) * (step / steps)
        part[step][(between < 0) & (part[step] == 0)] = number


def _signed_distance(mask: MaskSlice, pixel_spacing_mm: tuple[float, float]) -> DistanceSlice:
    """Return the distance to the border in mm, negative inside."""
    inside = ndimage.distance_transform_edt(mask, sampling=pixel_spacing_mm)
    outside = ndimage.distance_transform_edt(~mask, sampling=pixel_spacing_mm)
    return np.asarray(outside) - np.asarray(inside)
