"""Where voxels are: the only place that turns indices into patient millimetres and back.

Indices are slice, row, column; points are x, y, z in the patient's LPS frame (x to the patient's
left, y posterior, z superior; PS3.3 C.7.6.2.1.1). Every slice keeps its own
ImagePositionPatient, so no stack is assumed to be evenly spaced.
"""

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ml.arrays import HuVolume, PixelPoints, PointsMm, VectorMm

Scalar = TypeVar("Scalar", bound=np.generic)

LEFT = np.array([1.0, 0.0, 0.0])
POSTERIOR = np.array([0.0, 1.0, 0.0])
SUPERIOR = np.array([0.0, 0.0, 1.0])

DIRECTION_TOLERANCE = 1e-4
"""Largest deviation of a direction cosine from an exact axis, and of a dot product from 0 or 1.
Consoles write six decimals; 1e-4 over a 500 mm image is 0.05 mm."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VolumeGeometry:
    """A stack of parallel slices of one size.

    Raises:
        ValueError: directions that are not unit vectors at right angles, or sizes below 1.
    """

    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float]
    """DICOM Pixel Spacing: between rows, then between columns."""
    row_direction: VectorMm
    """Unit vector along increasing column index: first triple of ImageOrientationPatient."""
    column_direction: VectorMm
    """Unit vector along increasing row index: second triple of ImageOrientationPatient."""
    slice_positions_mm: PointsMm
    """ImagePositionPatient of every slice: centre of its first pixel, ascending along normal."""
    normal: VectorMm = field(init=False)
    """row_direction x column_direction: the direction in which the slice index grows."""

    def __post_init__(self) -> None:
        """Check the invariants and derive the normal."""
        row = np.asarray(self.row_direction, np.float64)
        column = np.asarray(self.column_direction, np.float64)
        positions = np.asarray(self.slice_positions_mm, np.float64)
        if min(self.rows, self.columns, len(positions)) < 1 or min(self.pixel_spacing_mm) <= 0:
            raise ValueError("a volume has at least one voxel of positive size")
        errors = (abs(row @ row - 1), abs(column @ column - 1), abs(row @ column))
        if max(errors) > DIRECTION_TOLERANCE:
            raise ValueError("directions must be unit vectors at right angles")
        normal = np.cross(row, column)
        along = positions @ normal
        if np.any(np.diff(along) <= 0):
            raise ValueError("slice positions must ascend along the normal")
        for name, value in (
            ("row_direction", row),
            ("column_direction", column),
            ("slice_positions_mm", positions),
            ("normal", normal),
        ):
            frozen = value.copy()
            frozen.setflags(write=False)
            object.__setattr__(self, name, frozen)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        return len(self.slice_positions_mm), self.rows, self.columns

    @property
    def slice_spacing_mm(self) -> float:
        """Median distance of neighbouring slices along the normal; 0 for a single slice."""
        if len(self.slice_positions_mm) == 1:
            return 0.0
        return float(np.median(np.diff(self.slice_positions_mm @ self.normal)))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Slice, row and column spacing: the sampling of the array's axes."""
        return (self.slice_spacing_mm, *self.pixel_spacing_mm)

    @property
    def voxel_volume_ml(self) -> float:
        """Millilitres of one voxel."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Outer size along slices, rows and columns, whole voxels included."""
        slices, rows, columns = self.shape
        dz, dy, dx = self.spacing_mm
        return slices * dz, rows * dy, columns * dx

    def pixels_to_mm(self, slice_index: int, pixels: PixelPoints) -> PointsMm:
        """Place (column, row) positions of one slice in the patient, PS3.3 C.7.6.2.1.1."""
        between_rows, between_columns = self.pixel_spacing_mm
        return (
            self.slice_positions_mm[slice_index]
            + np.outer(pixels[:, 0] * between_columns, self.row_direction)
            + np.outer(pixels[:, 1] * between_rows, self.column_direction)
        )

    def mm_to_pixels(self, slice_index: int, points_mm: PointsMm) -> PixelPoints:
        """Express patient points as (column, row) of one slice; inverse of pixels_to_mm."""
        between_rows, between_columns = self.pixel_spacing_mm
        offset = np.asarray(points_mm, np.float64) - self.slice_positions_mm[slice_index]
        return np.stack(
            [
                offset @ self.row_direction / between_columns,
                offset @ self.column_direction / between_rows,
            ],
            axis=1,
        )

    def index_to_mm(self, indices: PointsMm) -> PointsMm:
        """Place (slice, row, column) indices in the patient; the slice index is a whole number."""
        positions = self.slice_positions_mm[np.asarray(indices)[:, 0].astype(np.intp)]
        between_rows, between_columns = self.pixel_spacing_mm
        return (
            positions
            + np.outer(indices[:, 1] * between_rows, self.column_direction)
            + np.outer(indices[:, 2] * between_columns, self.row_direction)
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Volume:
    """Hounsfield units with their geometry.

    Raises:
        ValueError: the array's shape is not the geometry's.
    """

    hu: HuVolume
    geometry: VolumeGeometry

    def __post_init__(self) -> None:
        """Check that array and geometry describe the same voxels."""
        if self.hu.shape != self.geometry.shape:
            raise ValueError(f"array {self.hu.shape} on a geometry of {self.geometry.shape}")


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisAlignment:
    """How the array of an axial series is turned to LPS order, and back, without resampling.

    LPS order: slices towards superior, rows towards posterior, columns towards the left.
    """

    swap_in_plane: bool
    """Rows and columns change places (decubitus positions)."""
    flip_slices: bool
    flip_rows: bool
    flip_columns: bool
    """Flips apply after the swap."""

    def to_lps(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn an array on the series' own grid to LPS order (a view)."""
        turned = array.swapaxes(1, 2) if self.swap_in_plane else array
        return turned[self._flips]

    def from_lps(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn an array in LPS order back to the series' own grid (a view)."""
        flipped = array[self._flips]
        return flipped.swapaxes(1, 2) if self.swap_in_plane else flipped

    def geometry_to_lps(self, geometry: VolumeGeometry) -> VolumeGeometry:
        """Describe the turned array: the same voxels, counted along the patient's own axes.

        Directions become exact axes, so positions move by at most DIRECTION_TOLERANCE times
        the extent; contours never use this geometry, only the network's crop does.
        """
        positions = geometry.slice_positions_mm
        down, right = geometry.column_direction, geometry.row_direction
        between_rows, between_columns = geometry.pixel_spacing_mm
        rows, columns = geometry.rows, geometry.columns
        if self.swap_in_plane:
            down, right = right, down
            between_rows, between_columns = between_columns, between_rows
            rows, columns = columns, rows
        if self.flip_rows:
            positions = positions + down * between_rows * (rows - 1)
        if self.flip_columns:
            positions = positions + right * between_columns * (columns - 1)
        return VolumeGeometry(
            rows=rows,
            columns=columns,
            pixel_spacing_mm=(between_rows, between_columns),
            row_direction=LEFT,
            column_direction=POSTERIOR,
            slice_positions_mm=positions[::-1] if self.flip_slices else positions,
        )

    @property
    def _flips(self) -> tuple[slice, slice, slice]:
        back, keep = slice(None, None, -1), slice(None)
        return (
            back if self.flip_slices else keep,
            back if self.flip_rows else keep,
            back if self.flip_columns else keep,
        )


class NotAxialError(ValueError):
    """The slices do not lie across the patient's long axis, or their edges not along x and y."""


def align_to_lps(geometry: VolumeGeometry) -> AxisAlignment:
    """Find the swap and flips that bring an axial series to LPS order.

    Raises:
        NotAxialError: a direction is not an axis of the patient within DIRECTION_TOLERANCE.
    """
    if not is_axial(geometry.row_direction, geometry.column_direction):
        raise NotAxialError("only axial series with edges along the patient's axes are handled")
    swap = abs(geometry.row_direction @ POSTERIOR) > 0.5  # exactly 0 or 1 up to the tolerance
    right = geometry.column_direction if swap else geometry.row_direction
    down = geometry.row_direction if swap else geometry.column_direction
    return AxisAlignment(
        swap_in_plane=bool(swap),
        flip_slices=bool(geometry.normal @ SUPERIOR < 0),
        flip_rows=bool(down @ POSTERIOR < 0),
        flip_columns=bool(right @ LEFT < 0),
    )


def is_axial(row_direction: VectorMm, column_direction: VectorMm) -> bool:
    """Tell whether image edges run along the patient's x and y axes, in any of the 8 ways."""
    directions = np.abs(np.stack([row_direction, column_direction]))
    straight = np.eye(3)[:2]
    return any(
        np.abs(directions - axes).max() <= DIRECTION_TOLERANCE
        for axes in (straight, straight[::-1])
    )
