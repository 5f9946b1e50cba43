import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ml.geometry import (
    DIRECTION_TOLERANCE,
    LEFT,
    POSTERIOR,
    SUPERIOR,
    NotAxialError,
    Volume,
    VolumeGeometry,
    align_to_lps,
    is_axial,
)

AXES = (LEFT, POSTERIOR)
AXIAL = [
    (sign_row * row, sign_column * column)
    for row, column in itertools.permutations(AXES)
    for sign_row, sign_column in itertools.product((1, -1), repeat=2)
]
"""The eight ways in which the edges of an axial slice can run."""

SIZES = st.integers(1, 6)
SPACINGS = st.floats(0.3, 5)
COORDINATES = st.floats(-1000, 1000)


def stack(
    row=LEFT, column=POSTERIOR, *, shape=(4, 3, 5), spacing=(2.5, 0.8, 1.3), origin=(1, 2, 3)
):
    slices, rows, columns = shape
    normal = np.cross(row, column)
    return VolumeGeometry(
        rows=rows,
        columns=columns,
        pixel_spacing_mm=spacing[1:],
        row_direction=row,
        column_direction=column,
        slice_positions_mm=np.array(origin, float)
        + np.outer(np.arange(slices), normal * spacing[0]),
    )


@st.composite
def rotations(draw):
    """Any right-handed frame."""
    vector = draw(hnp.arrays(np.float64, 4, elements=st.floats(-1, 1)))
    norm = np.linalg.norm(vector)
    w, x, y, z = vector / norm if norm > 0.1 else (1.0, 0.0, 0.0, 0.0)
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
    ])  # fmt: skip


@st.composite
def geometries(draw, directions: st.SearchStrategy[Any] = rotations()):  # noqa: B008  # a strategy, not a value
    row, column = draw(directions)
    return stack(
        row,
        column,
        shape=draw(st.tuples(SIZES, SIZES, SIZES)),
        spacing=draw(st.tuples(SPACINGS, SPACINGS, SPACINGS)),
        origin=draw(st.tuples(COORDINATES, COORDINATES, COORDINATES)),
    )


def all_indices(shape):
    return np.argwhere(np.ones(shape, np.bool_)).astype(np.float64)


class TestVolumeGeometry:
    def test_sizes(self):
        geometry = stack()
        assert geometry.shape == (4, 3, 5)
        assert geometry.spacing_mm == pytest.approx((2.5, 0.8, 1.3))
        assert geometry.extent_mm == pytest.approx((10.0, 2.4, 6.5))
        assert geometry.voxel_volume_ml == pytest.approx(0.0026)
        np.testing.assert_array_equal(geometry.normal, SUPERIOR)

    def test_a_single_slice_has_no_slice_spacing(self):
        assert stack(shape=(1, 3, 5)).slice_spacing_mm == 0

    def test_the_usual_slice_spacing_is_the_median(self):
        geometry = VolumeGeometry(
            rows=2,
            columns=2,
            pixel_spacing_mm=(1.0, 1.0),
            row_direction=LEFT,
            column_direction=POSTERIOR,
            slice_positions_mm=np.array([[0.0, 0.0, z] for z in (0, 3, 6, 16)]),
        )
        assert geometry.slice_spacing_mm == 3

    def test_arrays_cannot_be_changed_and_are_copies(self):
        row = LEFT.copy()
        geometry = stack(row)
        row[0] = -1
        assert geometry.row_direction[0] == 1
        with pytest.raises(ValueError, match="read-only"):
            geometry.slice_positions_mm[0] = 0

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"rows": 0}, "at least one voxel"),
            ({"columns": 0}, "at least one voxel"),
            ({"pixel_spacing_mm": (1.0, 0.0)}, "at least one voxel"),
            ({"slice_positions_mm": np.zeros((0, 3))}, "at least one voxel"),
            ({"row_direction": LEFT * 1.01}, "unit vectors"),
            ({"column_direction": LEFT}, "right angles"),
            ({"slice_positions_mm": np.zeros((2, 3))}, "ascend"),
            ({"slice_positions_mm": np.array([[0.0, 0, 1], [0, 0, 0]])}, "ascend"),
        ],
    )
    def test_refuses_what_is_no_volume(self, changes, problem):
        values = {
            "rows": 2,
            "columns": 2,
            "pixel_spacing_mm": (1.0, 1.0),
            "row_direction": LEFT,
            "column_direction": POSTERIOR,
            "slice_positions_mm": np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
        }
        with pytest.raises(ValueError, match=problem):
            VolumeGeometry(**(values | changes))

    def test_places_pixels_as_the_standard_does(self):
        """PS3.3 C.7.6.2.1.1, by hand: a feet-first slice with unequal spacing."""
        geometry = stack(-LEFT, POSTERIOR, spacing=(3.0, 0.5, 2.0), origin=(100, -50, 7))
        np.testing.assert_array_equal(geometry.normal, -SUPERIOR)
        pixels = np.array([[0.0, 0.0], [3.0, 1.0], [0.5, -0.5]])
        expected = [[100, -50, 1], [94, -49.5, 1], [99, -50.25, 1]]
        np.testing.assert_allclose(geometry.pixels_to_mm(2, pixels), expected)
        indices = np.array([[2.0, 1.0, 3.0]])
        np.testing.assert_allclose(geometry.index_to_mm(indices), [[94, -49.5, 1]])

    @given(geometries(), st.data())
    def test_pixels_and_millimetres_are_inverse(self, geometry, data):
        number = data.draw(st.integers(0, geometry.shape[0] - 1))
        pixels = data.draw(hnp.arrays(np.float64, (4, 2), elements=st.floats(-600, 600)))
        back = geometry.mm_to_pixels(number, geometry.pixels_to_mm(number, pixels))
        np.testing.assert_allclose(back, pixels, atol=1e-6)

    @given(geometries())
    def test_pixels_lie_in_the_plane_of_their_slice(self, geometry):
        pixels = np.array([[0.0, 0.0], [500.0, 3.0], [-7.0, 400.0]])
        points = geometry.pixels_to_mm(0, pixels)
        offsets = (points - geometry.slice_positions_mm[0]) @ geometry.normal
        np.testing.assert_allclose(offsets, 0, atol=1e-9)

    @given(geometries())
    def test_indices_and_pixels_agree(self, geometry):
        indices = all_indices(geometry.shape)
        by_pixel = np.concatenate(
            [
                geometry.pixels_to_mm(z, indices[indices[:, 0] == z][:, :0:-1])
                for z in range(geometry.shape[0])
            ]
        )
        np.testing.assert_allclose(geometry.index_to_mm(indices), by_pixel, atol=1e-9)


class TestVolume:
    def test_refuses_an_array_of_another_shape(self):
        with pytest.raises(ValueError, match="on a geometry of"):
            Volume(hu=np.zeros((4, 5, 3), np.int16), geometry=stack())

    def test_holds_array_and_geometry(self):
        hu = np.zeros((4, 3, 5), np.int16)
        assert Volume(hu=hu, geometry=stack()).hu is hu


class TestIsAxial:
    @pytest.mark.parametrize(("row", "column"), AXIAL)
    def test_any_of_the_eight_ways(self, row, column):
        assert is_axial(row, column)

    @pytest.mark.parametrize(
        ("row", "column"),
        [(POSTERIOR, -SUPERIOR), (LEFT, -SUPERIOR), (np.array([0.8, 0.6, 0]), POSTERIOR)],
    )
    def test_no_other(self, row, column):
        assert not is_axial(row, column)

    @pytest.mark.parametrize(("factor", "expected"), [(0.9, True), (1.1, False)])
    def test_up_to_the_tolerance(self, factor, expected):
        angle = DIRECTION_TOLERANCE * factor
        tilted = np.array([0.0, np.cos(angle), np.sin(angle)])
        assert is_axial(LEFT, tilted) is expected


class TestAlignToLps:
    @pytest.mark.parametrize(("row", "column"), AXIAL)
    def test_turns_arrays_so_that_indices_grow_along_the_axes(self, row, column):
        geometry = stack(row, column)
        alignment = align_to_lps(geometry)
        x, y, z = geometry.index_to_mm(all_indices(geometry.shape)).T.reshape(3, *geometry.shape)
        for axis, coordinate in enumerate((z, y, x)):
            steps = np.diff(alignment.to_lps(coordinate), axis=axis)
            assert steps.min() > 0
            others = [a for a in range(3) if a != axis]
            np.testing.assert_allclose(np.ptp(alignment.to_lps(coordinate), axis=tuple(others)), 0)

    @given(geometries(st.sampled_from(AXIAL)), st.data())
    def test_turning_back_is_exact(self, geometry, data):
        array = data.draw(hnp.arrays(np.int16, geometry.shape))
        alignment = align_to_lps(geometry)
        np.testing.assert_array_equal(alignment.from_lps(alignment.to_lps(array)), array)

    @given(geometries(st.sampled_from(AXIAL)))
    def test_every_voxel_keeps_its_place(self, geometry):
        alignment = align_to_lps(geometry)
        turned = alignment.geometry_to_lps(geometry)
        indices = all_indices(geometry.shape)
        places = geometry.index_to_mm(indices).reshape(*geometry.shape, 3)
        seen = np.stack([alignment.to_lps(places[..., i]) for i in range(3)], axis=-1)
        assert seen.shape[:3] == turned.shape
        expected = turned.index_to_mm(all_indices(turned.shape)).reshape(seen.shape)
        np.testing.assert_allclose(seen, expected, atol=1e-9)

    def test_turned_directions_are_exact_axes(self):
        angle = DIRECTION_TOLERANCE / 2
        row = np.array([np.cos(angle), np.sin(angle), 0])
        column = np.array([-np.sin(angle), np.cos(angle), 0])
        geometry = stack(row, column)
        turned = align_to_lps(geometry).geometry_to_lps(geometry)
        np.testing.assert_array_equal(turned.row_direction, LEFT)
        np.testing.assert_array_equal(turned.column_direction, POSTERIOR)

    @pytest.mark.parametrize(("row", "column"), [(POSTERIOR, -SUPERIOR), (LEFT, -SUPERIOR)])
    def test_refuses_what_is_not_axial(self, row, column):
        with pytest.raises(NotAxialError):
            align_to_lps(stack(row, column))
