import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml.metrics.overlap import dice
from ml.metrics.slicewise import measure_slices
from ml.metrics.surface import hausdorff95_mm

PIXEL = (1.0, 1.0)
masks = arrays(bool, (4, 5, 6))


def box(first: int, last: int, shift: int = 0) -> np.ndarray:
    mask = np.zeros((24, 64, 64), bool)
    mask[first:last, 16:36, 16 + shift : 36 + shift] = True
    return mask


def ball(radius_mm: float) -> np.ndarray:
    z, y, x = np.ogrid[-12:12, -32:32, -32:32]
    return (5 * z) ** 2 + y**2 + x**2 <= radius_mm**2


class TestErrorsAlongZ:
    """What two dimensions do not see, measured: two surplus slices, and a shift by one."""

    def test_surplus_slices_have_no_distance(self):
        assert measure_slices(box(6, 16), box(6, 14), PIXEL).hd95_mm == 0

    def test_a_shift_by_a_slice_has_no_distance(self):
        assert measure_slices(box(7, 15), box(6, 14), PIXEL).hd95_mm == 0

    def test_a_ball_of_20_mm_against_one_of_17(self):
        assert measure_slices(ball(20), ball(17), PIXEL).hd95_mm == pytest.approx(4.23, abs=0.005)


class TestMeasureSlices:
    def test_slices_that_differ_in_presence_count_nothing(self):
        found = measure_slices(box(6, 16), box(6, 14), PIXEL)

        assert found.dice == pytest.approx(8 / 10)
        assert found.dice_both_empty_1 == pytest.approx(22 / 24)
        assert found.slices_with_both == 8

    def test_a_shift_within_the_slice_is_seen(self):
        found = measure_slices(box(6, 14, shift=3), box(6, 14), (1.0, 0.5))

        assert found.hd95_mm == pytest.approx(1.5)
        assert found.dice == pytest.approx(17 / 20)

    def test_a_slice_never_measures_to_its_neighbour(self):
        a, b = np.zeros((2, 2, 40), bool), np.zeros((2, 2, 40), bool)
        a[0, 0, 0] = a[1, 0, 39] = True
        b[0, 0, 39] = b[1, 0, 0] = True

        assert measure_slices(a, b, PIXEL).hd95_mm == 39

    def test_without_a_slice_nothing_is_measured(self):
        nothing = np.zeros((3, 4, 4), bool)

        found = measure_slices(nothing, nothing, PIXEL)

        assert math.isnan(found.dice)
        assert math.isnan(found.hd95_mm)
        assert found.dice_both_empty_1 == 1

    def test_no_slice_in_common_has_no_distance(self):
        found = measure_slices(box(2, 4), box(6, 14), PIXEL)

        assert math.isnan(found.hd95_mm)
        assert found.dice == 0

    @given(a=masks, b=masks, spacing=st.sampled_from([(1.0, 1.0), (0.7, 2.5)]))
    def test_means_equal_those_of_the_slices_one_by_one(self, a, b, spacing):
        shared = [z for z in range(len(a)) if a[z].any() and b[z].any()]
        each_dice = [dice(a[z], b[z]) for z in range(len(a))]
        each_hd95 = [hausdorff95_mm(a[z], b[z], spacing) for z in shared]

        found = measure_slices(a, b, spacing)

        filled = [1.0 if math.isnan(value) else value for value in each_dice]
        known = [value for value in each_dice if not math.isnan(value)]
        assert found.dice_both_empty_1 == pytest.approx(np.mean(filled))
        assert found.dice == pytest.approx(np.mean(known) if known else math.nan, nan_ok=True)
        expected = np.mean(each_hd95) if shared else math.nan
        assert found.hd95_mm == pytest.approx(expected, nan_ok=True)
