import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.phantom.shapes import (
    Points,
    capsule,
    catmull_rom,
    smooth_subtract,
    smooth_union,
    sphere,
    superellipse,
    superellipsoid,
    triangle,
    tube,
)

COORDINATE = st.floats(-40, 40, width=32)


def at(x, y, z):
    def one(value):
        return np.full((1, 1, 1), value, np.float32)

    return Points(x=one(x), y=one(y), z=one(z))


@given(COORDINATE, COORDINATE, COORDINATE)
def test_distance_to_a_ball_is_the_distance_to_its_centre_less_the_radius(x, y, z):
    expected = np.linalg.norm([x - 3, y + 2, z - 1]) - 7
    assert sphere(at(x, y, z), (3, -2, 1), 7).item() == pytest.approx(expected, abs=1e-3)


@given(COORDINATE, COORDINATE, COORDINATE)
def test_a_round_superellipsoid_has_the_sign_of_the_ball(x, y, z):
    ball = sphere(at(x, y, z), (0, 0, 0), 10).item()
    round_one = superellipsoid(at(x, y, z), (0, 0, 0), (10, 10, 10)).item()
    assert abs(ball) < 1e-3 or np.sign(ball) == np.sign(round_one)


@pytest.mark.parametrize("exponent", [2.0, 2.5, 4.0])
def test_superellipsoid_vanishes_where_its_axes_end(exponent):
    for point in ((5, 0, 0), (0, -8, 0), (0, 0, 3)):
        value = superellipsoid(at(*point), (0, 0, 0), (5, 8, 3), exponent).item()
        assert value == pytest.approx(0, abs=1e-5)


def test_superellipse_is_negative_at_its_centre():
    p = at(0, 0, 0)
    assert superellipse(p.x, p.y, np.float32(4), np.float32(2), 2.0).item() < -1


@pytest.mark.parametrize(
    ("point", "expected"),
    [((0, 5, 0), 3.0), ((10, 5, 0), 1.0), ((5, 5, 0), 2.0), ((-4, 0, 0), 2.0)],
)
def test_capsule_radius_runs_from_one_end_to_the_other(point, expected):
    assert capsule(at(*point), (0, 0, 0), (10, 0, 0), 2, 4).item() == pytest.approx(expected)


def test_curve_passes_through_its_nodes():
    nodes = np.array([[0.0, 0, 0], [10, 5, 0], [20, -5, 3]])
    curve = catmull_rom(nodes, 4)
    assert len(curve) == 9
    np.testing.assert_allclose(curve[::4], nodes)


def test_tube_has_the_radius_of_its_nodes():
    path = ((0, 0, 0), (0, 0, 10), (0, 0, 20))
    assert tube(at(9, 0, 10), path, (2, 5, 2)).item() == pytest.approx(4, abs=0.1)


def test_tube_of_one_node_is_refused():
    with pytest.raises(ValueError, match="two nodes"):
        tube(at(0, 0, 0), ((0, 0, 0),), (1,))


@pytest.mark.parametrize(
    ("point", "expected"),
    [((1, 1, 5), 4.0), ((-3, 1, 0), 2.0), ((-3, -4, 0), 4.0), ((2, 2, -0.5), -0.5)],
)
def test_plate_distance_above_the_face_beside_an_edge_and_off_a_corner(point, expected):
    value = triangle(at(*point), (0, 0, 0), (10, 0, 0), (0, 10, 0), 1.0).item()
    assert value == pytest.approx(expected, abs=1e-5)


@given(st.floats(-20, 20, width=32), st.floats(-20, 20, width=32))
def test_smooth_union_lies_at_most_a_quarter_radius_below_the_sharp_one(a, b):
    one, two = np.full((1, 1, 1), a, np.float32), np.full((1, 1, 1), b, np.float32)
    value = smooth_union(one, two, 4).item()
    assert min(a, b) - 1 - 1e-4 <= value <= min(a, b) + 1e-4


@given(st.floats(-20, 20, width=32), st.floats(-20, 20, width=32))
def test_smooth_subtraction_never_leaves_more_than_the_sharp_one(a, b):
    one, two = np.full((1, 1, 1), a, np.float32), np.full((1, 1, 1), b, np.float32)
    assert smooth_subtract(one, two, 4).item() >= max(a, -b) - 1e-4
