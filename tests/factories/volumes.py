"""Volumes whose geometry and contents are known exactly."""

import numpy as np

from ml.geometry import LEFT, POSTERIOR, AxisAlignment, Volume, VolumeGeometry

AIR_HU = -1000
BODY_HU = 40


def make_geometry(
    shape: tuple[int, int, int] = (8, 96, 96),
    spacing_mm: tuple[float, float, float] = (5.0, 4.0, 4.0),
    first_mm: tuple[float, float, float] = (-190.0, -190.0, 0.0),
) -> VolumeGeometry:
    """Make a stack in LPS order whose first voxel's centre is at first_mm (x, y, z)."""
    positions = np.tile(np.asarray(first_mm, float), (shape[0], 1))
    positions[:, 2] += np.arange(shape[0]) * spacing_mm[0]
    return VolumeGeometry(
        rows=shape[1],
        columns=shape[2],
        pixel_spacing_mm=(spacing_mm[1], spacing_mm[2]),
        row_direction=LEFT,
        column_direction=POSTERIOR,
        slice_positions_mm=positions,
    )


def axes_mm(geometry: VolumeGeometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return z, y, x of the voxel centres of a geometry in LPS order, ready to broadcast."""
    origin = geometry.slice_positions_mm[0]
    y = origin[1] + np.arange(geometry.rows) * geometry.pixel_spacing_mm[0]
    x = origin[0] + np.arange(geometry.columns) * geometry.pixel_spacing_mm[1]
    return geometry.slice_positions_mm[:, 2][:, None, None], y[None, :, None], x[None, None, :]


def make_body(
    geometry: VolumeGeometry,
    center_mm: tuple[float, float] = (0.0, 0.0),
    half_axes_mm: tuple[float, float] = (160.0, 110.0),
) -> Volume:
    """Make an elliptic body of soft tissue in air; center_mm and half_axes_mm are x, y."""
    _, y, x = axes_mm(geometry)
    inside = ((x - center_mm[0]) / half_axes_mm[0]) ** 2 + (
        (y - center_mm[1]) / half_axes_mm[1]
    ) ** 2 <= 1
    hu = np.full(geometry.shape, AIR_HU, np.int16)
    hu[np.broadcast_to(inside, geometry.shape)] = BODY_HU
    return Volume(hu=hu, geometry=geometry)


def turned(volume: Volume, alignment: AxisAlignment) -> Volume:
    """Store a volume in LPS order the way a series of that alignment has it."""
    geometry = volume.geometry
    right, down = LEFT, POSTERIOR
    positions = geometry.slice_positions_mm
    between_rows, between_columns = geometry.pixel_spacing_mm
    if alignment.flip_columns:
        positions = positions + LEFT * between_columns * (geometry.columns - 1)
        right = -LEFT
    if alignment.flip_rows:
        positions = positions + POSTERIOR * between_rows * (geometry.rows - 1)
        down = -POSTERIOR
    rows, columns = geometry.rows, geometry.columns
    if alignment.swap_in_plane:
        right, down = down, right
        between_rows, between_columns = between_columns, between_rows
        rows, columns = columns, rows
    if alignment.flip_slices:
        positions = positions[::-1]
    return Volume(
        hu=np.ascontiguousarray(alignment.from_lps(volume.hu)),
        geometry=VolumeGeometry(
            rows=rows,
            columns=columns,
            pixel_spacing_mm=(between_rows, between_columns),
            row_direction=right,
            column_direction=down,
            slice_positions_mm=positions,
        ),
    )


def possible_alignments() -> list[AxisAlignment]:
    """Return the eight ways an axial series can be stored; slices follow the right hand."""
    found = []
    for number in range(8):
        swap, rows, columns = bool(number & 1), bool(number & 2), bool(number & 4)
        # an odd number of turns of the in-plane axes turns the normal round
        slices = (swap + rows + columns) % 2 == 1
        found.append(
            AxisAlignment(
                swap_in_plane=swap, flip_slices=slices, flip_rows=rows, flip_columns=columns
            )
        )
    return found
