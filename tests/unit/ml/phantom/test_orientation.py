import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.geometry import LEFT, POSTERIOR, Volume, VolumeGeometry
from ml.phantom.orientation import PatientPosition, RowOrder, image_directions, reorient_volume

DIRECTIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "FFDR": (0, -1, 0, -1, 0, 0),
    "FFDL": (0, 1, 0, 1, 0, 0),
}
"""PS3.3 C.7.3.1.1.2: columns run down to the side the patient lies on."""


def asymmetric_volume(slices=3, rows=4, columns=5):
    positions = np.tile([12.5, -80.0, 0.0], (slices, 1))
    positions[:, 2] = -300 + 4.0 * np.arange(slices)
    geometry = VolumeGeometry(
        rows=rows,
        columns=columns,
        pixel_spacing_mm=(1.5, 0.8),
        row_direction=LEFT,
        column_direction=POSTERIOR,
        slice_positions_mm=positions,
    )
    values = np.arange(slices * rows * columns, dtype=np.int16).reshape(slices, rows, columns)
    return Volume(hu=values, geometry=geometry)


def places(volume):
    indices = np.argwhere(np.ones(volume.hu.shape, bool)).astype(float)
    points = volume.geometry.index_to_mm(indices)
    return points[np.argsort(volume.hu.ravel())]


@pytest.mark.parametrize("position", PatientPosition)
def test_directions_are_those_of_the_standard(position):
    row, column = image_directions(position)
    np.testing.assert_array_equal([*row, *column], DIRECTIONS[position.value])


@given(
    position=st.sampled_from(PatientPosition),
    order=st.sampled_from(RowOrder),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6)),
)
@settings(max_examples=60)
def test_every_voxel_stays_at_its_place_in_the_patient(position, order, shape):
    volume = asymmetric_volume(*shape)
    turned = reorient_volume(volume, position, order)
    np.testing.assert_allclose(places(turned), places(volume), atol=1e-9)


@pytest.mark.parametrize("order", RowOrder)
@pytest.mark.parametrize("position", PatientPosition)
def test_turning_back_restores_the_volume(position, order):
    volume = asymmetric_volume()
    back = reorient_volume(reorient_volume(volume, position, order), PatientPosition.HFS)
    np.testing.assert_array_equal(back.hu, volume.hu)
    np.testing.assert_allclose(back.geometry.slice_positions_mm, volume.geometry.slice_positions_mm)


def test_negated_rows_turn_the_normal_round():
    volume = asymmetric_volume()
    turned = reorient_volume(volume, PatientPosition.HFS, RowOrder.NEGATED)
    np.testing.assert_array_equal(turned.geometry.normal, [0, 0, -1])
