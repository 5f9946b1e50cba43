import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.inference.presence import kept_slices, remove_absent

PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


class TestKeptSlices:
    @pytest.mark.parametrize(
        ("presence", "expected"),
        [
            ([0.1, 0.4, 0.9, 0.4, 0.1], [0, 1, 1, 1, 0]),
            ([0.4, 0.4, 0.1, 0.9, 0.1], [0, 0, 0, 1, 0]),
            ([0.3, 0.7, 0.3, 0.2, 0.7], [1, 1, 1, 0, 1]),
            ([0.2, 0.6, 0.6, 0.2], [0, 0, 0, 0]),
            ([0.9, 0.9], [1, 1]),
        ],
    )
    def test_runs_above_the_low_value_stay_if_they_reach_the_high_one(self, presence, expected):
        found = kept_slices(np.array(presence), (0.3, 0.7))

        assert found.astype(int).tolist() == expected

    @given(values=PROBABILITIES, gate=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
    def test_certain_slices_stay_and_unlikely_ones_go(self, values, gate):
        presence = np.array(values)

        kept = kept_slices(presence, tuple(gate))

        assert kept[presence >= gate[1]].all()
        assert not kept[presence < gate[0]].any()

    @given(values=PROBABILITIES, level=st.floats(0, 1))
    def test_equal_values_are_a_plain_threshold(self, values, level):
        presence = np.array(values)

        assert np.array_equal(kept_slices(presence, (level, level)), presence >= level)


class TestRemoveAbsent:
    def test_each_structure_goes_by_its_own_presence(self):
        labels = np.tile(np.array([[0, 1, 2]], np.uint8), (3, 1, 1))
        presence = np.array([[0.9, 0.1], [0.9, 0.9], [0.1, 0.9]], np.float32)

        remove_absent(labels, presence, (0.5, 0.5))

        assert labels[:, 0].tolist() == [[0, 1, 0], [0, 1, 2], [0, 0, 2]]

    def test_a_view_of_a_larger_array_is_changed_in_place(self):
        labels = np.ones((2, 4, 4), np.uint8)

        remove_absent(labels[:, 1:3, 1:3], np.zeros((2, 1), np.float32), (0.5, 0.5))

        assert np.count_nonzero(labels) == 2 * 12
