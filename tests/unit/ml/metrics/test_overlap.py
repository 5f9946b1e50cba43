import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml.metrics.overlap import dice, volume_error_ml

FOUR = np.array([[1, 1, 1, 1, 0, 0]], bool)
SIX = np.array([[0, 0, 1, 1, 1, 1]], bool)
NONE = np.zeros((1, 6), bool)


class TestDice:
    @pytest.mark.parametrize(
        ("a", "b", "expected"), [(FOUR, FOUR, 1), (FOUR, SIX, 0.5), (FOUR, NONE, 0), (NONE, SIX, 0)]
    )
    def test_values_by_hand(self, a, b, expected):
        assert dice(a, b) == expected

    def test_two_empty_masks_have_none(self):
        assert math.isnan(dice(NONE, NONE))

    def test_a_single_slice_in_3d_is_its_2d_value(self):
        assert dice(FOUR[None], SIX[None]) == dice(FOUR, SIX)

    @given(a=arrays(bool, (3, 4, 5)), b=arrays(bool, (3, 4, 5)), axis=st.integers(0, 2))
    def test_it_lies_in_0_to_1_whatever_the_order_and_the_side(self, a, b, axis):
        found = dice(a, b)

        assert math.isnan(found) or 0 <= found <= 1
        np.testing.assert_equal(dice(np.flip(b, axis), np.flip(a, axis)), found)


class TestVolumeError:
    def test_surplus_is_positive(self):
        assert volume_error_ml(FOUR, NONE, 0.25) == 1.0
        assert volume_error_ml(NONE, FOUR, 0.25) == -1.0
