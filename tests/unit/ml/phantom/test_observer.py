import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.phantom.observer import ObserverModel, observe
from ml.structures import CERVIX

SPACING = (5.0, 1.0, 1.0)
NO_DEVIATION = ObserverModel(end_slices=(0, 0), margin_mm=0.0, displacement_sd_mm=0.0)


def cylinder(name, *, radius=20.0, first=6, last=13, centre=(48, 48)):
    rows, columns = np.mgrid[:96, :96]
    disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2
    labels = np.zeros((20, 96, 96), np.uint8)
    labels[first : last + 1, disc] = CERVIX.get(name).number
    return labels


def rng(seed=0):
    return np.random.default_rng(seed)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def found_slices(labels):
    return np.flatnonzero(labels.any(axis=(1, 2)))


class TestObserve:
    def test_who_deviates_in_nothing_contours_the_truth(self):
        truth = cylinder("Bladder") + cylinder("CTV-N", radius=6, centre=(12, 12))
        np.testing.assert_array_equal(observe(truth, SPACING, rng(), NO_DEVIATION), truth)

    def test_equal_observers_contour_equally_and_others_do_not(self):
        truth = cylinder("CTV-UV")
        first = observe(truth, SPACING, rng(1))
        np.testing.assert_array_equal(first, observe(truth, SPACING, rng(1)))
        assert (first != observe(truth, SPACING, rng(2))).any()

    def test_the_truth_is_not_changed(self):
        truth = cylinder("CTV-UV")
        before = truth.copy()
        observe(truth, SPACING, rng())
        np.testing.assert_array_equal(truth, before)

    def test_without_structures_nothing_is_contoured(self):
        assert not observe(np.zeros((4, 8, 8), np.uint8), SPACING, rng()).any()

    @settings(max_examples=25)
    @given(seed=st.integers(0, 2**31))
    def test_ends_lie_one_or_two_slices_off(self, seed):
        model = ObserverModel(margin_mm=0.0, displacement_sd_mm=0.0)
        found = found_slices(observe(cylinder("Rectum"), SPACING, rng(seed), model))
        assert abs(found[0] - 6) in {1, 2}
        assert abs(found[-1] - 13) in {1, 2}

    @settings(max_examples=10)
    @given(seed=st.integers(0, 2**31), length=st.integers(1, 4))
    def test_a_short_structure_keeps_its_middle(self, seed, length):
        truth = cylinder("Rectum", first=6, last=5 + length)
        model = ObserverModel(margin_mm=0.0, displacement_sd_mm=0.0)
        assert observe(truth, SPACING, rng(seed), model).any()

    def test_targets_vary_in_margin_and_organs_do_not(self):
        model = ObserverModel(end_slices=(0, 0), margin_mm=3.0, displacement_sd_mm=0.0)
        organ, target = cylinder("Bladder"), cylinder("CTV-UV")
        areas = [np.count_nonzero(observe(target, SPACING, rng(s), model)[8]) for s in range(30)]
        radii = np.sqrt(np.array(areas) / np.pi)
        assert 17 - 0.7 < radii.min() < 18.5
        assert 21.5 < radii.max() < 23 + 0.7
        np.testing.assert_array_equal(observe(organ, SPACING, rng(3), model), organ)

    def test_the_contour_moves_by_the_sd_along_its_normal(self):
        model = ObserverModel(end_slices=(0, 0), margin_mm=0.0, displacement_sd_mm=1.5)
        moved = []
        for seed in range(40):
            drawn = observe(cylinder("Bladder"), SPACING, rng(seed), model)[9] > 0
            ray = drawn[48, 48:]  # along the normal, from the axis outwards
            moved.append(int(ray.sum()) - 21)
        assert np.std(moved) == pytest.approx(1.5, rel=0.35)
        assert abs(np.mean(moved)) < 0.8

    def test_neighbouring_places_move_together(self):
        model = ObserverModel(end_slices=(0, 0), margin_mm=0.0, displacement_sd_mm=3.0)
        near, far = [], []
        for seed in range(40):
            drawn = observe(cylinder("Bladder"), SPACING, rng(seed), model)[9] > 0
            right, next_to_it, left = (
                drawn[48, 48:].sum(),
                drawn[52, 48:].sum(),
                drawn[48, :49].sum(),
            )
            near.append((right, next_to_it))
            far.append((right, left))
        assert np.corrcoef(np.array(near, float).T)[0, 1] > 0.75
        assert abs(np.corrcoef(np.array(far, float).T)[0, 1]) < 0.6

    def test_where_structures_meet_the_priority_decides(self):
        truth = cylinder("CTV-N", radius=30)
        inner = cylinder("Bladder", radius=12)
        truth[inner > 0] = inner[inner > 0]
        model = ObserverModel(end_slices=(0, 0), margin_mm=0.0, displacement_sd_mm=0.0)
        wide = ObserverModel(end_slices=(0, 0), margin_mm=3.0, displacement_sd_mm=0.0)
        bladder = CERVIX.get("Bladder").number
        for seed in range(6):
            drawn = observe(truth, SPACING, rng(seed), wide)
            np.testing.assert_array_equal(drawn == bladder, truth == bladder)
        np.testing.assert_array_equal(observe(truth, SPACING, rng(), model), truth)

    def test_two_observers_agree_less_on_small_structures(self):
        agreement = {
            radius: np.mean(
                [
                    dice(
                        observe(cylinder("Rectum", radius=radius), SPACING, rng(2 * s)) > 0,
                        observe(cylinder("Rectum", radius=radius), SPACING, rng(2 * s + 1)) > 0,
                    )
                    for s in range(8)
                ]
            )
            for radius in (8.0, 30.0)
        }
        assert agreement[8.0] < agreement[30.0] - 0.02
        assert agreement[30.0] < 0.95


class TestObserverModel:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"end_slices": (2, 1)},
            {"end_slices": (-1, 1)},
            {"margin_mm": -1.0},
            {"displacement_sd_mm": -0.1},
            {"displacement_sigma_mm": 0.0},
        ],
    )
    def test_impossible_sizes_are_refused(self, wrong):
        with pytest.raises(ValueError, match=r"end_slices|sizes"):
            ObserverModel(**wrong)
