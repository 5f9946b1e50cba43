import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.lines import Line2D

from ml.evaluation.report.curve_figure import learning_curves
from ml.evaluation.report.figures import COLORS, STYLE
from tests.factories.studies import TABLE_1, grid_rows, make_curve, paper_comparison


def heights(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata(), float)


class TestLearningCurves:
    def test_lines_are_the_losses_and_the_mean_dice_by_epoch(self):
        figure = learning_curves([make_curve("U-Net")], paper_comparison())

        lines = [axes.lines for axes in figure.axes]
        assert [len(own) for own in lines] == [1, 1, 1]
        assert [axes.get_title() for axes in figure.axes] == [
            "Training loss",
            "Validation loss",
            "Mean validation Dice",
        ]
        np.testing.assert_array_equal(lines[0][0].get_xdata(), [1, 2, 3])
        np.testing.assert_allclose(heights(lines[0][0]), [1, 1 / 2, 1 / 3])
        np.testing.assert_allclose(heights(lines[2][0]), [0.2, 0.4, 0.6])

    def test_seeds_are_thin_and_their_mean_ends_with_the_shortest(self):
        curves = [make_curve("U-Net", seed=0, epochs=4), make_curve("U-Net", seed=2, epochs=2)]

        first, second, mean = learning_curves(curves, paper_comparison()).axes[1].lines

        assert max(first.get_linewidth(), second.get_linewidth()) < mean.get_linewidth()
        np.testing.assert_array_equal(first.get_xdata(), [1, 2, 3, 4])
        np.testing.assert_array_equal(mean.get_xdata(), [1, 2])
        np.testing.assert_allclose(heights(mean), [1.1, 0.6])

    def test_a_run_has_the_colour_it_has_in_the_other_figures(self):
        axes = learning_curves([make_curve(run) for run in TABLE_1], paper_comparison()).axes[0]

        assert [line.get_color() for line in axes.lines] == list(COLORS[:4])

    def test_twelve_runs_are_told_apart(self):
        _, comparison = grid_rows()

        figure = learning_curves([make_curve(r.label) for r in comparison.runs], comparison)

        looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
        assert len(looks) == 12
        assert len(figure.legends[0].get_texts()) == 12

    def test_a_loss_far_above_the_others_makes_its_axis_logarithmic(self):
        curves = [make_curve("U-Net", training_loss=900.0), make_curve("U-Net++")]

        with mpl.rc_context(STYLE):
            figure = learning_curves(curves, paper_comparison())
            figure.draw_without_rendering()

        assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "linear"]
        labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
        assert {"1", "10", "100"} <= set(labels)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_loss_that_is_no_number_leaves_a_gap(self, value):
        figure = learning_curves([make_curve("U-Net", validation_loss=value)], paper_comparison())
        figure.draw_without_rendering()

        assert np.isnan(heights(figure.axes[1].lines[0])).all()
