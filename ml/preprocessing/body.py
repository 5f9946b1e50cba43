"""Where the patient is: a coarse mask, robust to couch, padding and circular fields of view."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ml.arrays import CoordinatesMm, HuVolume, Indices, MaskVolume
from ml.geometry import VolumeGeometry
from ml.preprocessing.components import connected_parts, part_sizes

BODY_THRESHOLD_HU = -300
"""Skin and fat lie above; air, foam and any padding value below."""
BONE_THRESHOLD_HU = 250
"""Dense bone lies above; soft tissue, and kidneys full of contrast, below."""
COARSE_PIXEL_MM = 4.0
"""In-plane sampling of the mask: a centroid over a volume needs no finer."""
COARSE_SLICE_MM = 5.0
"""Slices closer than this are skipped."""
OPENING_RADIUS_MM = 10.0
"""Couch shells, blankets and tubes are thinner than twice this and fall off."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Body:
    """The patient's outline on a coarse grid in LPS order."""

    mask: MaskVolume
    """The sampled slices; all false where no patient was found."""
    bone: MaskVolume
    """Voxels of the body denser than BONE_THRESHOLD_HU."""
    slice_indices: Indices
    """Slice of the volume, in LPS order, behind each slice of the mask."""
    x_mm: CoordinatesMm
    """LPS x of every column of the mask."""
    y_mm: CoordinatesMm
    """LPS y of every row of the mask."""

    @property
    def is_empty(self) -> bool:
        """Tell whether no patient was found."""
        return not self.mask.any()

    @property
    def pixel_area_mm2(self) -> float:
        """Area of one pixel of the mask."""
        return _step(self.x_mm) * _step(self.y_mm)

    def center_mm(self) -> tuple[float, float]:
        """Return LPS x and y of the centroid; the image's centre where there is no body."""
        if self.is_empty:
            return float(self.x_mm.mean()), float(self.y_mm.mean())
        by_column = self.mask.sum(axis=(0, 1), dtype=np.float64)
        by_row = self.mask.sum(axis=(0, 2), dtype=np.float64)
        return (
            float(by_column @ self.x_mm / by_column.sum()),
            float(by_row @ self.y_mm / by_row.sum()),
        )


def find_body(hu: HuVolume, geometry: VolumeGeometry) -> Body:
    """Find the patient in an array and geometry in LPS order.

    The body is the largest connected part of what is denser than fat after an in-plane opening
    took off the couch, with the air inside each slice's outline filled.
    """
    dz, dy, dx = geometry.spacing_mm
    steps = [
        max(1, round(COARSE_SLICE_MM / dz)) if dz else 1,
        max(1, round(COARSE_PIXEL_MM / dy)),
        max(1, round(COARSE_PIXEL_MM / dx)),
    ]
    coarse = hu[:: steps[0], :: steps[1], :: steps[2]]
    pixel_mm = (dy * steps[1], dx * steps[2])
    mask = _largest_part(_opened(coarse > BODY_THRESHOLD_HU, pixel_mm))
    for one_slice in mask:
        ndimage.binary_fill_holes(one_slice, output=one_slice)
    origin = geometry.slice_positions_mm.mean(axis=0)
    return Body(
        mask=mask,
        bone=mask & (coarse > BONE_THRESHOLD_HU),
        slice_indices=np.arange(0, geometry.shape[0], steps[0]),
        x_mm=origin[0] + np.arange(coarse.shape[2]) * pixel_mm[1],
        y_mm=origin[1] + np.arange(coarse.shape[1]) * pixel_mm[0],
    )


def _opened(mask: MaskVolume, pixel_mm: tuple[float, float]) -> MaskVolume:
    """Remove what is thinner than the disc, keeping bodies cut by the image's border whole."""
    reach = [int(OPENING_RADIUS_MM // size) for size in pixel_mm]
    rows, columns = np.ogrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    disc = np.hypot(rows * pixel_mm[0], columns * pixel_mm[1]) <= OPENING_RADIUS_MM
    eroded = ndimage.binary_erosion(mask, disc[None], border_value=1)
    return ndimage.binary_dilation(eroded, disc[None])


def _largest_part(mask: MaskVolume) -> MaskVolume:
    numbers, count = connected_parts(mask)
    if count <= 1:
        return mask
    return numbers == part_sizes(numbers, count)[1:].argmax() + 1


def _step(coordinates: CoordinatesMm) -> float:
    return float(coordinates[1] - coordinates[0]) if len(coordinates) > 1 else 1.0
