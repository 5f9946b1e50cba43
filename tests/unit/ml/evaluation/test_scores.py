import math

import numpy as np
import pytest

from ml.evaluation.evaluate import score_case
from ml.evaluation.statistics import summarize
from ml.structures import CERVIX

SPACING = (5.0, 1.0, 1.0)


@pytest.fixture
def truth() -> np.ndarray:
    labels = np.zeros((4, 20, 20), np.uint8)
    labels[1:3, 2:8, 2:8] = 3
    labels[1:3, 12:18, 12:18] = 4
    return labels


class TestScores:
    def test_every_structure_has_its_score(self, truth):
        found = truth.copy()
        found[found == 4] = 0
        found[1, 0, 0] = 2

        scores = {s.structure: s for s in score_case("c", found, truth, SPACING, CERVIX)}

        assert scores["Bladder"].dice == 1
        assert scores["Bladder"].hd95_mm == 0
        assert scores["Rectum"].is_missed
        assert scores["Rectum"].hd95_mm == math.inf
        assert scores["Rectum"].volume_error_ml == pytest.approx(-0.36)
        assert scores["CTV-UV"].is_hallucinated
        assert scores["CTV-N"].is_absent


class TestSummary:
    def test_means_are_over_what_is_finite_and_the_rest_is_counted(self, truth):
        perfect = list(score_case("a", truth, truth, SPACING, CERVIX))
        nothing = list(score_case("b", truth * 0, truth, SPACING, CERVIX))

        table = summarize(perfect + nothing)

        assert table["cases"] == 2
        assert table["Bladder"]["dice"]["mean"] == 0.5
        assert table["Bladder"]["hd95_mm"] == {
            "mean": 0.0,
            "sd": 0.0,
            "median": 0.0,
            "worst": 0.0,
            "finite": 1,
        }
        assert table["Bladder"]["missed"] == 1
        assert table["CTV-N"]["dice"] == {"finite": 0}
        assert table["CTV-N"]["both_empty"] == 2
