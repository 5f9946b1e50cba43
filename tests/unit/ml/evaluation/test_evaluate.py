import dataclasses
import math

import numpy as np
import pytest

from ml.data.dataset import create_dataset, write_case
from ml.evaluation.evaluate import evaluate_cases, evaluate_dataset, score_case
from ml.evaluation.rows import RunLabel
from ml.geometry import Volume
from ml.structures import CERVIX
from tests.factories.scores import make_labelled_case
from tests.factories.volumes import possible_alignments, turned

LABEL = RunLabel(run="resaunet", seed=3, part="metal-hip")
BLADDER, RECTUM = 3, 4


@pytest.fixture
def truth() -> np.ndarray:
    labels = np.zeros((6, 20, 20), np.uint8)
    labels[1:3, 2:8, 2:8] = BLADDER
    labels[1:3, 12:18, 12:18] = RECTUM
    return labels


@pytest.fixture
def found(truth) -> np.ndarray:
    """The bladder with two slices too many above, no rectum, and a voxel of CTV-UV."""
    labels = truth.copy()
    labels[labels == RECTUM] = 0
    labels[3:5, 2:8, 2:8] = BLADDER
    labels[1, 0, 0] = 2
    return labels


def scores_of(case, labels) -> dict:
    return {s.structure: s for s in score_case(case, labels, CERVIX, LABEL)}


class TestScoreCase:
    def test_every_row_says_where_it_belongs(self, truth, found):
        scores = scores_of(make_labelled_case(truth), found)

        assert list(scores) == list(CERVIX.names)
        assert {(s.run, s.seed, s.part, s.case, s.patient) for s in scores.values()} == {
            ("resaunet", 3, "metal-hip", "case-1", "patient-1")
        }

    def test_values_by_hand(self, truth, found):
        bladder = scores_of(make_labelled_case(truth), found)["Bladder"]

        assert bladder.dice == pytest.approx(2 * 72 / (72 + 144))
        assert bladder.prediction_ml == pytest.approx(0.72)
        assert bladder.reference_ml == pytest.approx(0.36)
        assert bladder.hd95_mm == bladder.hd100_mm == 10
        # the truth's upper end lies inside the prediction, 2 mm from its sides at most
        assert bladder.hd_equation7_mm == pytest.approx(0.95 * 10 + 0.05 * 2)
        assert bladder.slice_hd95_mm == 0
        assert bladder.slice_dice == 0.5
        assert bladder.slice_dice_both_empty_1 == pytest.approx(4 / 6)
        assert bladder.presence_error_slices == 2
        assert bladder.superior_end_error_slices == 2
        assert bladder.inferior_end_error_slices == 0
        assert bladder.slice_spacing_mm == 5
        assert bladder.extent_diagonal_mm == pytest.approx(math.hypot(30, 20, 20))

    def test_empty_masks_keep_their_conventions(self, truth, found):
        scores = scores_of(make_labelled_case(truth), found)

        assert scores["Rectum"].is_missed
        assert scores["Rectum"].dice == 0
        assert scores["Rectum"].hd95_mm == math.inf
        assert scores["Rectum"].volume_error_ml == pytest.approx(-0.36)
        assert scores["CTV-UV"].is_hallucinated
        assert scores["CTV-N"].is_absent
        assert math.isnan(scores["CTV-N"].dice)

    def test_the_background_of_the_whole_ct_is_a_class_too(self, truth, found):
        scores = scores_of(make_labelled_case(truth), found)

        both = np.count_nonzero((truth == 0) & (found == 0))
        total = np.count_nonzero(truth == 0) + np.count_nonzero(found == 0)
        assert {s.background_dice for s in scores.values()} == {2 * both / total}

    def test_a_case_without_labels_is_scored(self, truth):
        scores = scores_of(make_labelled_case(truth * 0), truth * 0)

        assert all(s.is_absent for s in scores.values())
        assert scores["Bladder"].true_negative_slices == 6

    @pytest.mark.parametrize("alignment", possible_alignments())
    def test_scores_do_not_depend_on_how_the_series_is_stored(self, truth, found, alignment):
        upright = make_labelled_case(truth)
        volume = turned(upright.volume, alignment)
        stored = dataclasses.replace(upright, volume=volume, labels=alignment.from_lps(truth))

        scores = list(score_case(stored, alignment.from_lps(found), CERVIX, LABEL))

        for score, expected in zip(scores, score_case(upright, found, CERVIX, LABEL), strict=True):
            np.testing.assert_equal(dataclasses.asdict(score), dataclasses.asdict(expected))

    def test_labels_of_another_grid_are_refused(self, truth):
        with pytest.raises(ValueError, match="labels"):
            list(score_case(make_labelled_case(truth), truth[1:], CERVIX, LABEL))


class TestEvaluate:
    def test_cases_are_contoured_from_their_volume_alone(self, truth):
        seen: list[Volume] = []

        def predict(volume: Volume) -> np.ndarray:
            seen.append(volume)
            return truth

        scores = list(evaluate_cases(predict, [make_labelled_case(truth)], CERVIX, LABEL))

        assert [volume.hu.shape for volume in seen] == [truth.shape]
        assert scores[2].dice == 1

    def test_the_named_cases_of_a_dataset_are_scored(self, truth, tmp_path):
        dataset = create_dataset(tmp_path, "small")
        for name in ("a", "b", "c"):
            write_case(dataset, dataclasses.replace(make_labelled_case(truth), case_id=name))

        scores = list(evaluate_dataset(lambda _: truth, dataset, ["c", "a"], LABEL))

        assert [s.case for s in scores] == ["c"] * 4 + ["a"] * 4
        assert [s.dice for s in scores if s.structure == "Rectum"] == [1, 1]
