"""Automatic contours against what a reader made of them, structure by structure."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ml.arrays import MaskVolume
from ml.geometry import VolumeGeometry, align_to_lps
from ml.metrics.overlap import dice
from ml.metrics.path_length import measure_path
from ml.metrics.surface import box_of, measure_surfaces

TOLERANCE_MM = 2.0
"""Of the surface Dice: about what observers differ by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditScore:
    """How far an edited structure is from the automatic one; conventions of ml.metrics.

    Where both masks are empty overlaps and distances are nan; where one is, overlaps are 0 and
    distances inf.
    """

    dice: float
    hd95_mm: float
    """The larger of the directed 95th percentiles in 3-D."""
    assd_mm: float
    surface_dice_2mm: float
    added_path_length_mm: float
    total_path_length_mm: float
    """Of the edited contours."""
    relative_added_path: float
    """Added of the total; nan where nothing is left of the structure."""
    edited_slices: int
    """Slices in which the masks differ."""
    slices: int
    """Slices that show the structure before or after."""
    found_ml: float
    """Volume before the edit."""
    edited_ml: float
    """Volume after it."""


def compare_structures(
    found: Mapping[str, MaskVolume], edited: Mapping[str, MaskVolume], geometry: VolumeGeometry
) -> dict[str, EditScore]:
    """Compare every structure of either side; one that a side lacks is empty there.

    Args:
        found: automatic masks by structure, on the series' own grid.
        edited: the same after editing.
        geometry: of the series.

    Returns:
        Scores by structure: those found in their order, then those drawn in addition.

    Raises:
        NotAxialError: the series does not lie along the patient's axes.
        ValueError: a mask is not on the geometry's grid.
    """
    alignment = align_to_lps(geometry)
    aligned = alignment.geometry_to_lps(geometry)
    none = np.zeros(geometry.shape, bool)
    scores: dict[str, EditScore] = {}
    for name in dict.fromkeys([*found, *edited]):
        masks = found.get(name, none), edited.get(name, none)
        for mask in masks:
            if mask.shape != geometry.shape:
                raise ValueError(f"{name}: a mask {mask.shape} on a grid of {geometry.shape}")
        before, after = (alignment.to_lps(mask) for mask in masks)
        scores[name] = _compare(before, after, aligned)
    return scores


def _compare(found: MaskVolume, edited: MaskVolume, geometry: VolumeGeometry) -> EditScore:
    either = found | edited
    if either.any():
        # nothing is to be measured beyond the box of both
        box = box_of(either)
        found, edited = found[box], edited[box]
    surfaces = measure_surfaces(found, edited, geometry.spacing_mm)
    path = measure_path(found, edited, geometry.pixel_spacing_mm)
    return EditScore(
        dice=float(dice(found, edited)),
        hd95_mm=surfaces.hausdorff95_mm(),
        assd_mm=surfaces.average_mm(),
        surface_dice_2mm=surfaces.surface_dice(TOLERANCE_MM),
        added_path_length_mm=path.added_path_length_mm,
        total_path_length_mm=path.total_path_length_mm,
        relative_added_path=path.relative,
        edited_slices=path.edited_slices,
        slices=path.slices,
        found_ml=float(np.count_nonzero(found) * geometry.voxel_volume_ml),
        edited_ml=float(np.count_nonzero(edited) * geometry.voxel_volume_ml),
    )
