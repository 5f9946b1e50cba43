import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from scipy.spatial.distance import cdist

from ml.metrics.surface import box_of, hausdorff95_mm, measure_surfaces, surface_of

THICK = (5.0, 1.0, 1.0)
FINE = (3.0, 0.9766, 0.9766)
CUBIC = (1.0, 1.0, 1.0)
SHAPE = (24, 64, 64)


def box(
    z: tuple[int, int] = (6, 14), y: tuple[int, int] = (16, 36), x: tuple[int, int] = (16, 36)
) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[slice(*z), slice(*y), slice(*x)] = True
    return mask


def joined(*masks: np.ndarray) -> np.ndarray:
    return np.logical_or.reduce(masks)


def ball(radius_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    z, y, x = ((np.arange(n) - n // 2) * s for n, s in zip(SHAPE, spacing_mm, strict=True))
    return z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None] ** 2 <= radius_mm**2


def voxels(*places: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros((3, 5, 6), bool)
    mask[tuple(np.transpose(places))] = True
    return mask


STRAY_VOXEL = joined(box(), box((10, 11), (50, 51), (50, 51)))
STRAY_ROD = joined(box(), box((2, 22), (50, 52), (50, 52)))
masks = arrays(bool, (3, 5, 6))
spacings = st.tuples(*[st.sampled_from([0.7, 1.0, 2.5, 5.0])] * 3)


class TestOraclesOfFiveLibraries:
    """Values measured with medpy (pooled), MetricsReloaded and MONAI (hd95)."""

    @pytest.mark.parametrize(
        ("other", "spacing", "pooled", "hd95", "hd100", "equation7"),
        [
            pytest.param(box(), THICK, 0, 0, 0, 0, id="identical"),
            pytest.param(box(x=(19, 39)), THICK, 3, 3, 3, 3, id="shift x"),
            pytest.param(box(z=(7, 15)), THICK, 5, 5, 5, 5, id="shift z"),
            pytest.param(box(z=(6, 16)), THICK, 10, 10, 10, 9.95, id="two surplus slices"),
            pytest.param(box(z=(6, 12)), THICK, 10, 10, 10, 9.95, id="two missing slices"),
            pytest.param(STRAY_VOXEL, THICK, 0, 0, 21.213, 20.153, id="stray voxel"),
            pytest.param(STRAY_ROD, THICK, 0, 21.932, 45.957, 43.659, id="stray rod"),
            pytest.param(STRAY_ROD, FINE, 0, 21.419, 32.624, None, id="stray rod, fine"),
            pytest.param(STRAY_ROD, CUBIC, 0, 21.424, 24, None, id="stray rod, cubic"),
        ],
    )
    def test_a_box_against_another(self, other, spacing, pooled, hd95, hd100, equation7):
        found = measure_surfaces(box(), other, spacing)

        assert found.hausdorff95_pooled_mm() == pytest.approx(pooled, abs=5e-4)
        assert found.hausdorff95_mm() == pytest.approx(hd95, abs=5e-4)
        assert found.hausdorff100_mm() == pytest.approx(hd100, abs=5e-4)
        if equation7 is not None:
            assert found.hausdorff_equation7_mm() == pytest.approx(equation7, abs=5e-4)

    @pytest.mark.parametrize(
        ("spacing", "pooled", "hd95", "hd100"), [(THICK, 5, 5, 5), (FINE, 3.521, 3.580, 3.711)]
    )
    def test_a_ball_of_20_mm_against_one_of_17(self, spacing, pooled, hd95, hd100):
        found = measure_surfaces(ball(20, spacing), ball(17, spacing), spacing)

        assert found.hausdorff95_pooled_mm() == pytest.approx(pooled, abs=5e-4)
        assert found.hausdorff95_mm() == pytest.approx(hd95, abs=5e-4)
        assert found.hausdorff100_mm() == pytest.approx(hd100, abs=5e-4)


class TestEmptyMasks:
    def test_two_empty_masks_have_no_distance(self):
        nothing = measure_surfaces(box() & False, box() & False, THICK)

        assert math.isnan(nothing.hausdorff95_mm())
        assert math.isnan(nothing.surface_dice(1.0))

    @pytest.mark.parametrize(("a", "b"), [(box(), box() & False), (box() & False, box())])
    def test_one_empty_mask_is_infinitely_far(self, a, b):
        found = measure_surfaces(a, b, THICK)

        distances = (
            found.hausdorff95_mm(),
            found.hausdorff95_pooled_mm(),
            found.hausdorff100_mm(),
            found.hausdorff_equation7_mm(),
            found.average_mm(),
        )
        assert distances == (math.inf,) * 5
        assert found.surface_dice(1.0) == 0


class TestMeasures:
    def test_average_and_surface_dice_by_hand(self):
        a = np.zeros((1, 1, 8), bool)
        b = a.copy()
        a[0, 0, :2] = True
        b[0, 0, :4] = True

        found = measure_surfaces(a, b, (1.0, 1.0, 2.0))

        assert sorted(found.a_to_b) == [0, 0]
        assert sorted(found.b_to_a) == [0, 0, 2, 4]
        assert found.average_mm() == pytest.approx(1)
        assert found.surface_dice(2.0) == pytest.approx(5 / 6)

    def test_the_arrays_border_is_surface(self):
        assert surface_of(np.ones((3, 3, 3), bool)).sum() == 26

    def test_outside_may_be_looked_for_along_some_axes_only(self):
        assert surface_of(np.ones((3, 3, 3), bool), axes=(1, 2)).sum() == 3 * 8

    @given(mask=masks)
    def test_a_surface_is_what_an_erosion_takes_away(self, mask):
        eroded = ndimage.binary_erosion(mask, border_value=0)

        np.testing.assert_array_equal(surface_of(mask), mask & np.logical_not(eroded))

    def test_a_distance_equal_to_the_tolerance_lies_within_it(self):
        a, b = np.zeros((1, 1, 8), bool), np.zeros((1, 1, 8), bool)
        a[..., 0] = b[..., 3] = True

        assert measure_surfaces(a, b, (1.0, 1.0, 0.7)).surface_dice(2.1) == 1

    @given(mask=masks)
    def test_the_box_holds_all_and_touches_it_on_every_side(self, mask):
        if not mask.any():
            return
        found = mask[box_of(mask)]

        assert np.count_nonzero(found) == np.count_nonzero(mask)
        for axis in range(3):
            sides = np.moveaxis(found, axis, 0)
            assert sides[0].any()
            assert sides[-1].any()

    @given(a=masks, b=masks, spacing=spacings)
    def test_distances_equal_those_of_all_pairs(self, a, b, spacing):
        if not (a.any() and b.any()):
            return
        found = measure_surfaces(a, b, spacing)

        pairs = cdist(np.argwhere(surface_of(a)) * spacing, np.argwhere(surface_of(b)) * spacing)
        np.testing.assert_allclose(np.sort(found.a_to_b), np.sort(pairs.min(axis=1)), atol=1e-9)
        np.testing.assert_allclose(np.sort(found.b_to_a), np.sort(pairs.min(axis=0)), atol=1e-9)

    @given(a=masks, b=masks, spacing=spacings, axis=st.integers(0, 2))
    def test_order_and_mirroring_play_no_part(self, a, b, spacing, axis):
        expected = hausdorff95_mm(a, b, spacing)

        turned = hausdorff95_mm(np.flip(b, axis), np.flip(a, axis), spacing)

        # of two nearest voxels, as far in other directions, the search may find either
        np.testing.assert_allclose(turned, expected, rtol=1e-12)

    @given(a=masks, b=masks, factor=st.sampled_from([0.5, 2.0, 4.0]))
    def test_distances_scale_with_the_spacing(self, a, b, factor):
        spacing = (3.0, 1.0, 1.5)
        scaled = tuple(s * factor for s in spacing)

        np.testing.assert_allclose(
            hausdorff95_mm(a, b, scaled), factor * hausdorff95_mm(a, b, spacing)
        )

    @given(a=masks, b=masks, spacing=spacings, order=st.permutations(range(3)))
    def test_naming_the_axes_otherwise_plays_no_part(self, a, b, spacing, order):
        expected = hausdorff95_mm(a, b, spacing)

        turned = tuple(spacing[axis] for axis in order)
        found = hausdorff95_mm(a.transpose(order), b.transpose(order), turned)

        np.testing.assert_allclose(found, expected)

    @given(a=masks, b=masks, shift=st.tuples(*[st.integers(0, 4)] * 3))
    def test_moving_both_masks_plays_no_part(self, a, b, shift):
        room = [(by, 4 - by) for by in shift]

        np.testing.assert_equal(
            hausdorff95_mm(np.pad(a, room), np.pad(b, room), THICK), hausdorff95_mm(a, b, THICK)
        )

    @given(a=arrays(bool, (5, 6)), b=arrays(bool, (5, 6)))
    def test_a_single_slice_in_3d_is_compared_pixel_by_pixel(self, a, b):
        found = measure_surfaces(a[None], b[None], (5.0, 1.0, 2.0))

        # all of a single slice is surface in 3-D: its neighbours above and below are outside
        assert len(found.a_to_b) == (a.sum() if b.any() else 0)
        assert len(found.b_to_a) == (b.sum() if a.any() else 0)

    def test_a_single_filled_outline_has_its_2d_distance(self):
        a, b = np.zeros((1, 5, 40), bool), np.zeros((1, 5, 40), bool)
        a[0, 2, :20] = b[0, 2, :31] = True

        assert hausdorff95_mm(a, b, THICK) == hausdorff95_mm(a[0], b[0], THICK[1:])

    @example(a=voxels((1, 0, 2)), b=voxels((0, 1, 1), (2, 1, 1)), spacing=(0.7, 1.0, 0.7))
    @given(a=masks, b=masks, spacing=spacings)
    def test_every_measure_keeps_its_limits(self, a, b, spacing):
        found = measure_surfaces(a, b, spacing)
        if found.empty_masks:
            return

        assert 0 <= found.average_mm() <= found.hausdorff100_mm() + 1e-9  # a mean is rounded
        assert found.hausdorff_equation7_mm() <= found.hausdorff100_mm() + 1e-9
        shares = [found.surface_dice(mm) for mm in (0.0, 1.0, 2.0, 3.0, 1e6)]
        assert shares == sorted(shares)
        assert shares[-1] == 1

    @given(a=masks, b=masks)
    def test_the_95th_percentile_is_at_most_the_largest_distance(self, a, b):
        found = measure_surfaces(a, b, CUBIC)

        assert not found.hausdorff95_mm() > found.hausdorff100_mm()
