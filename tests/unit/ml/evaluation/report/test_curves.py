import csv
import io
import math

import pytest

from ml.evaluation.report.curves import CurvePoint, LearningCurve, curves_to_csv
from ml.evaluation.report.plan import ReportError
from tests.factories.studies import make_curve


class TestLearningCurve:
    def test_the_mean_dice_passes_over_what_no_case_shows(self):
        dice = {"Bladder": 0.8, "Rectum": 0.6, "CTV-N": math.nan}
        [point] = make_curve("a", epochs=1, validation_dice=dice).points

        assert point.mean_dice == pytest.approx(0.7)

    @pytest.mark.parametrize("epochs", [(2, 1), (1, 1)])
    def test_epochs_that_do_not_ascend_are_refused(self, epochs):
        points = tuple(
            CurvePoint(epoch=e, training_loss=1.0, validation_loss=1.0, validation_dice={})
            for e in epochs
        )

        with pytest.raises(ReportError, match="a, seed 4"):
            LearningCurve(run="a", seed=4, points=points)


class TestCurvesToCsv:
    def test_every_epoch_is_a_line_with_all_bits(self):
        curves = [make_curve("a", seed=1), make_curve("b", epochs=1)]

        lines = list(csv.DictReader(io.StringIO(curves_to_csv(curves))))

        assert [(x["run"], x["seed"], x["epoch"]) for x in lines] == [
            ("a", "1", "1"),
            ("a", "1", "2"),
            ("a", "1", "3"),
            ("b", "0", "1"),
        ]
        assert float(lines[2]["training_loss"]) == 1 / 3
        assert float(lines[1]["validation_dice"]) == curves[0].points[1].mean_dice
        assert float(lines[1]["validation_dice Rectum"]) == 0.6

    def test_a_structure_only_some_runs_know_is_left_empty(self):
        curves = [make_curve("a", epochs=1), make_curve("b", epochs=1, validation_dice={"X": 0.5})]

        lines = list(csv.DictReader(io.StringIO(curves_to_csv(curves))))

        assert [line["validation_dice X"] for line in lines] == ["", "0.5"]
