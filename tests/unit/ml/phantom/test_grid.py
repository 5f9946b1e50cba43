import numpy as np
import pytest

from ml.phantom.grid import (
    OUTSIDE,
    Field,
    Placement,
    common,
    cut,
    grown,
    join,
    make_grid,
    smooth_noise,
    spread,
    to_scanner,
)
from ml.phantom.shapes import sphere

AXES = (np.arange(-60, 61, 4.0), np.arange(-50, 51, 4.0), np.arange(-40, 41, 5.0))


def grid(roll=0.0, warp=0.0, shift=(0.0, 0.0, 0.0)):
    placement = Placement(
        scale=(1.1, 0.95, 1.0), shift_mm=shift, roll_degrees=roll, warp_sd_mm=warp
    )
    return make_grid(AXES, placement, np.random.default_rng(0))


def test_anatomical_coordinates_invert_the_placement():
    lattice = grid(roll=3.0, shift=(8.0, -11.0, 4.0))
    points = lattice.points
    anatomical = np.stack([points.x.ravel(), points.y.ravel(), points.z.ravel()], axis=1)

    scanner = to_scanner(lattice.placement, anatomical.astype(np.float64))

    z, y, x = np.meshgrid(AXES[2], AXES[1], AXES[0], indexing="ij")
    expected = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    np.testing.assert_allclose(scanner, expected, atol=1e-4)


def test_a_box_holds_the_whole_solid_despite_roll_and_warp():
    lattice = grid(roll=-3.0, warp=3.5, shift=(6.0, 3.0, 0.0))
    everywhere = sphere(lattice.points, (10, 5, 0), 15) < 0

    field = lattice.evaluate((-5, -10, -15), (25, 20, 15), lambda p: sphere(p, (10, 5, 0), 15))

    assert everywhere.any()
    np.testing.assert_array_equal(spread(field, lattice.whole) < 0, everywhere)


def test_noise_at_a_place_does_not_depend_on_the_lattice():
    fine = tuple(np.arange(a[0], a[-1] + 0.1, 1.0) for a in AXES)
    coarse_noise = smooth_noise(np.random.default_rng(3), AXES, 30.0)
    fine_noise = smooth_noise(np.random.default_rng(3), (fine[0], fine[1], fine[2]), 30.0)
    np.testing.assert_allclose(fine_noise[::5, ::4, ::4], coarse_noise, atol=1e-5)


def test_noise_has_unit_variance():
    noise = smooth_noise(np.random.default_rng(5), AXES, 9.0)
    assert noise.std() == pytest.approx(1.0, abs=0.15)


def line(values, start):
    return Field(
        box=(slice(0, 1), slice(0, 1), slice(start, start + len(values))),
        distances=np.array(values, np.float32)[None, None],
    )


def test_union_covers_both_boxes_and_is_outside_elsewhere():
    result = join([line([-1, 2], 0), line([-3], 4)])
    np.testing.assert_array_equal(result.distances[0, 0], [-1, 2, OUTSIDE, OUTSIDE, -3])


def test_cut_takes_away_the_grown_other():
    result = cut(line([-5, -5, -5], 0), [line([1, 4], 1)], margin_mm=2.0)
    np.testing.assert_array_equal(result.distances[0, 0], [-5, 1, -2])


def test_common_part_lies_in_both_and_growing_shifts_the_surface():
    result = common(grown(line([-5, -5], 0), 1.0), [line([-1, 3], 0)])
    np.testing.assert_array_equal(result.distances[0, 0], [-1, 3])
    np.testing.assert_array_equal(grown(line([2], 0), 3.0).distances[0, 0], [-1])
