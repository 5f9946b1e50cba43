"""How a scanner stores a patient who lies on the couch in one of eight ways."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ml.geometry import (
    LEFT,
    POSTERIOR,
    SUPERIOR,
    AxisAlignment,
    Volume,
    VolumeGeometry,
    align_to_lps,
)

Scalar = TypeVar("Scalar", bound=np.generic)


class PatientPosition(StrEnum):
    """Patient Position, PS3.3 C.7.3.1.1.2."""

    HFS = "HFS"
    HFP = "HFP"
    HFDR = "HFDR"
    HFDL = "HFDL"
    FFS = "FFS"
    FFP = "FFP"
    FFDR = "FFDR"
    FFDL = "FFDL"


class RowOrder(StrEnum):
    """Whether rows run as the scanner shows them, from the viewer's left to the right."""

    NATIVE = "native"
    NEGATED = "negated"
    """Rows run the other way, so that the normal turns round too: a legal, unusual series."""


_DOWN = {
    "S": POSTERIOR,
    "P": -POSTERIOR,
    "DR": -LEFT,
    "DL": LEFT,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reorientation:
    """Carries arrays and geometry from one axial grid to another over the same voxels."""

    source: AxisAlignment
    target: AxisAlignment

    def array(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn an array on the source grid to the target grid (a copy)."""
        return np.ascontiguousarray(self.target.from_lps(self.source.to_lps(array)))


def image_directions(
    position: PatientPosition, row_order: RowOrder = RowOrder.NATIVE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return row and column direction of an image seen from the couch's foot end.

    Columns run towards the couch; slices native to the scanner ascend into the gantry, towards
    the head of a head-first patient and towards the feet of a feet-first one.
    """
    down = _DOWN[position.value[2:]]
    into_gantry = SUPERIOR if position.value.startswith("HF") else -SUPERIOR
    row = np.cross(down, into_gantry)
    return (-row if row_order is RowOrder.NEGATED else row) + 0.0, down + 0.0


def reorient(
    geometry: VolumeGeometry, position: PatientPosition, row_order: RowOrder = RowOrder.NATIVE
) -> tuple[VolumeGeometry, Reorientation]:
    """Return the grid on which a scanner stores the same voxels, and the way to it.

    Raises:
        NotAxialError: the given grid does not lie along the patient's axes.
    """
    source = align_to_lps(geometry)
    lps = source.geometry_to_lps(geometry)
    row, column = image_directions(position, row_order)
    swap = bool(abs(row @ POSTERIOR) > 0.5)  # exactly 0 or 1
    right, down = (column, row) if swap else (row, column)
    target = AxisAlignment(
        swap_in_plane=swap,
        flip_slices=bool(np.cross(row, column) @ SUPERIOR < 0),
        flip_rows=bool(down @ POSTERIOR < 0),
        flip_columns=bool(right @ LEFT < 0),
    )
    dy, dx = lps.pixel_spacing_mm
    first = lps.slice_positions_mm.copy()
    if target.flip_columns:
        first += LEFT * dx * (lps.columns - 1)
    if target.flip_rows:
        first += POSTERIOR * dy * (lps.rows - 1)
    turned = VolumeGeometry(
        rows=lps.columns if swap else lps.rows,
        columns=lps.rows if swap else lps.columns,
        pixel_spacing_mm=(dx, dy) if swap else (dy, dx),
        row_direction=row,
        column_direction=column,
        slice_positions_mm=first[::-1] if target.flip_slices else first,
    )
    return turned, Reorientation(source=source, target=target)


def reorient_volume(
    volume: Volume, position: PatientPosition, row_order: RowOrder = RowOrder.NATIVE
) -> Volume:
    """Return the same voxels at the same places on the grid a scanner would store."""
    geometry, way = reorient(volume.geometry, position, row_order)
    return Volume(hu=way.array(volume.hu), geometry=geometry)
