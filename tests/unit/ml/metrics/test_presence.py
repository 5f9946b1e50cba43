import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.metrics.presence import measure_presence

SLICES = 12


def stack(first: int, last: int) -> np.ndarray:
    mask = np.zeros((SLICES, 3, 3), bool)
    mask[first : last + 1, 1, 1] = True
    return mask


NOTHING = np.zeros((SLICES, 3, 3), bool)
presences = st.lists(st.booleans(), min_size=SLICES, max_size=SLICES)


class TestMeasurePresence:
    def test_counts_and_ends_by_hand(self):
        found = measure_presence(stack(3, 9), stack(2, 7))

        assert found.true_positive == 5
        assert found.false_positive == 2
        assert found.false_negative == 1
        assert found.true_negative == 4
        assert found.errors == 3
        assert found.sensitivity == pytest.approx(5 / 6)
        assert found.specificity == pytest.approx(4 / 6)

    def test_ends_are_signed_towards_superior(self):
        found = measure_presence(stack(3, 9), stack(2, 7))

        assert found.superior_end_error_slices == 2
        assert found.inferior_end_error_slices == 1

    def test_a_gap_is_an_error_but_moves_no_end(self):
        gap = stack(2, 7)
        gap[4] = False

        found = measure_presence(gap, stack(2, 7))

        assert found.errors == 1
        assert (found.superior_end_error_slices, found.inferior_end_error_slices) == (0, 0)

    @pytest.mark.parametrize(
        ("prediction", "reference", "errors"),
        [(NOTHING, stack(2, 7), 6), (stack(2, 7), NOTHING, 6), (NOTHING, NOTHING, 0)],
    )
    def test_an_empty_mask_has_no_ends(self, prediction, reference, errors):
        found = measure_presence(prediction, reference)

        assert found.errors == errors
        assert math.isnan(found.superior_end_error_slices)
        assert math.isnan(found.inferior_end_error_slices)

    def test_shares_of_no_slices_are_not_numbers(self):
        assert math.isnan(measure_presence(NOTHING, NOTHING).sensitivity)
        assert math.isnan(measure_presence(NOTHING, stack(0, SLICES - 1)).specificity)

    @given(prediction=presences, reference=presences)
    def test_turning_the_stack_over_swaps_the_ends(self, prediction, reference):
        a, b = (np.array(p).reshape(-1, 1, 1) for p in (prediction, reference))

        upright, turned = measure_presence(a, b), measure_presence(a[::-1], b[::-1])

        assert turned.errors == upright.errors
        assert turned.superior_end_error_slices == pytest.approx(
            -upright.inferior_end_error_slices, nan_ok=True
        )

    @given(prediction=presences, reference=presences)
    def test_every_slice_is_counted_once(self, prediction, reference):
        a, b = (np.array(p).reshape(-1, 1, 1) for p in (prediction, reference))

        found = measure_presence(a, b)

        assert found.true_positive + found.false_negative == sum(reference)
        assert found.true_positive + found.false_positive == sum(prediction)
        assert found.errors + found.true_positive + found.true_negative == SLICES
