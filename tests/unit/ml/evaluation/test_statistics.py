import dataclasses

import numpy as np
import pytest

from ml.evaluation.evaluate import score_case
from ml.evaluation.rows import RunLabel
from ml.evaluation.statistics import summarize
from ml.structures import CERVIX
from tests.factories.scores import make_labelled_case


@pytest.fixture
def truth() -> np.ndarray:
    labels = np.zeros((4, 20, 20), np.uint8)
    labels[1:3, 2:8, 2:8] = 3
    labels[1:3, 12:18, 12:18] = 4
    return labels


class TestSummary:
    def test_means_are_over_what_is_finite_and_the_rest_is_counted(self, truth):
        case = make_labelled_case(truth)
        other = dataclasses.replace(case, case_id="case-2")
        perfect = list(score_case(case, truth, CERVIX, RunLabel()))
        nothing = list(score_case(other, truth * 0, CERVIX, RunLabel()))

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
