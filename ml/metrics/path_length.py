"""How much of a contour was drawn anew when an automatic one was edited.

Reference: Vaassen et al., Phys Imaging Radiat Oncol 2020;13:1-6, added path length: what of the
edited contour does not lie on the automatic one, which follows the time an edit takes better than
overlap or distances do. Contours are boundary pixels here: pixels of the mask with one of their
four neighbours in the slice outside it, the border of the array being outside.
"""

import math
from dataclasses import dataclass

import numpy as np

from ml.arrays import MaskVolume
from ml.metrics.surface import box_of, surface_of


@dataclass(frozen=True, kw_only=True, slots=True)
class PathLength:
    """How far an edit went, over all slices of a structure."""

    added_path_length_mm: float
    """Of the edited contour, what the automatic one does not share."""
    total_path_length_mm: float
    """Of the edited contour."""
    edited_slices: int
    """Slices in which the masks differ."""
    slices: int
    """Slices that show the structure in either mask."""

    @property
    def relative(self) -> float:
        """Share of the edited contour that was added; nan if it is empty."""
        if self.total_path_length_mm == 0:
            return math.nan
        return self.added_path_length_mm / self.total_path_length_mm


def measure_path(
    found: MaskVolume, edited: MaskVolume, pixel_spacing_mm: tuple[float, float]
) -> PathLength:
    """Measure what was added to the automatic contours of a structure.

    A boundary pixel counts as long as a pixel is wide; where rows and columns are spaced unequally
    that is the mean of both, as an outline runs along either about as often.

    Args:
        found: the automatic mask; slices along the first axis.
        edited: the mask after editing, on the same grid.
        pixel_spacing_mm: between rows, between columns.
    """
    either = found | edited
    if not either.any():
        return PathLength(
            added_path_length_mm=0.0, total_path_length_mm=0.0, edited_slices=0, slices=0
        )
    # beyond the box of both masks there is nothing, so boundaries inside it are the same
    box = box_of(either)
    found, edited = found[box], edited[box]
    contour = surface_of(edited, axes=(1, 2))
    added = contour & ~surface_of(found, axes=(1, 2))
    pixel_mm = float(np.mean(pixel_spacing_mm))
    return PathLength(
        added_path_length_mm=float(np.count_nonzero(added) * pixel_mm),
        total_path_length_mm=float(np.count_nonzero(contour) * pixel_mm),
        edited_slices=int(np.count_nonzero((found != edited).any(axis=(1, 2)))),
        slices=int(np.count_nonzero(either.any(axis=(1, 2)))),
    )
