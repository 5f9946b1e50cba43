"""The learning curves of a comparison's runs."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ml.evaluation.measures import mean_of_finite
from ml.evaluation.report.curves import CurvePoint, LearningCurve
from ml.evaluation.report.figures import COLORS, WIDTH_IN, add_legend
from ml.evaluation.report.plan import Comparison

LINE_STYLES = ("-", "--", ":")
"""Runs beyond the colours repeat them with a pattern."""
LOGARITHMIC_FROM = 50.0
"""Largest value by the smallest above which a linear axis would show the largest alone."""


def learning_curves(curves: Sequence[LearningCurve], comparison: Comparison) -> Figure:
    """Draw losses and mean validation Dice by epoch: seeds thin, their mean thick.

    The mean ends where the first of a run's seeds does: what is left behind it are other seeds.
    """
    figure = Figure(figsize=(WIDTH_IN, 4.2), layout="constrained")
    panels: tuple[tuple[str, Callable[[CurvePoint], float]], ...] = (
        ("Training loss", lambda point: point.training_loss),
        ("Validation loss", lambda point: point.validation_loss),
        ("Mean validation Dice", lambda point: point.mean_dice),
    )
    for axes, (title, value) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for index, run in enumerate(comparison.runs):
            own = [curve for curve in curves if curve.run == run.label]
            _draw_run(axes, own, value, index)
        _spread(axes, [value(point) for curve in curves for point in curve.points])
        axes.set_title(title)
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    handles = [Line2D([], [], **_look(index)) for index in range(len(comparison.runs))]
    add_legend(figure, handles, comparison)
    figure.suptitle(f"{comparison.title}: learning curves")
    return figure


def _draw_run(
    axes: Axes, curves: Sequence[LearningCurve], value: Callable[[CurvePoint], float], index: int
) -> None:
    if not curves:
        return
    by_seed = [{point.epoch: value(point) for point in curve.points} for curve in curves]
    look = _look(index)
    if len(by_seed) > 1:
        for values in by_seed:
            axes.plot(list(values), list(values.values()), **{**look, **_SEED})
    shared = sorted(set[int].intersection(*(set(values) for values in by_seed)))
    means = [mean_of_finite([values[epoch] for values in by_seed]) for epoch in shared]
    # a line through one point would not be seen
    axes.plot(shared, means, **look, marker="o" if len(shared) == 1 else "", markersize=4)


def _spread(axes: Axes, values: Sequence[float]) -> None:
    finite = [value for value in values if math.isfinite(value)]
    if finite and 0 < min(finite) * LOGARITHMIC_FROM < max(finite):
        axes.set_yscale("log")
        # matplotlib's own labels are formulas
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


_SEED: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.6}


def _look(index: int) -> dict[str, Any]:  # Any: matplotlib's keywords
    style = LINE_STYLES[index // len(COLORS) % len(LINE_STYLES)]
    return {"color": COLORS[index % len(COLORS)], "linestyle": style, "linewidth": 1.8}
