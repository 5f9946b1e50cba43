"""Figures of a comparison, after the paper's Figures 5 and 7; equal rows give equal files."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ml.evaluation.bootstrap import mean_interval
from ml.evaluation.measures import DSC, HD95, PRESENCE_ERRORS, Measure, select
from ml.evaluation.measures import mean_over_structures as mean_of
from ml.evaluation.report.plan import Comparison, ordered_structures, rows_of
from ml.evaluation.rows import CaseScore

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#F0E442")
"""Okabe and Ito's, told apart with any colour vision."""
HATCHES = ("", "///", "...")
"""Runs beyond the colours repeat them with a pattern."""
STYLE: dict[Any, Any] = {  # Any: matplotlib's names of settings are a type of its own
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#dddddd",
    "svg.hashsalt": "cervicontour",
    # titles are names somebody chose, not formulas
    "text.parse_math": False,
}
WIDTH_IN = 9.0
MANY_GROUPS = 6
"""Above this the names of groups would run into each other."""
MANY_RUNS = 6
"""Above this the numbers on their bars and boxes would."""
LONG_TITLE = 20
"""Characters that fit below a bar."""
LEGEND_COLUMNS = 4
LEGEND_CHARACTERS = 100
"""Of all columns of a legend together, that fit the width."""
LEGEND_ROWS = 3
LEGEND_ROW_IN = 0.2
"""What a further row adds to the figure's height."""
GROUP_SHARE = 0.8
"""Of the distance between groups that their bars or boxes take."""

Bar = tuple[float, float, float]
"""Height, and how far its whisker reaches below and above."""


def structure_bars(rows: Sequence[CaseScore], comparison: Comparison) -> Figure:
    """Draw mean DSC (a) and 95HD (b) of every structure and their mean: Figure 5."""
    part = comparison.parts[0]
    own = [rows_of(rows, run.label, part) for run in comparison.runs]
    groups = ordered_structures([row for found in own for row in found])
    figure = Figure(figsize=(WIDTH_IN, 6.4), layout="constrained")
    for letter, axes, measure in zip("ab", figure.subplots(2, 1), (DSC, HD95), strict=True):
        series = [
            [_bar(select(found, structure=name), measure) for name in groups]
            + [_bar(found, measure)]
            for found in own
        ]
        _grouped_bars(axes, series, [*groups, f"m{measure.title.removeprefix('95')}"])
        axes.set_ylabel(measure.heading)
        axes.set_title(f"({letter})", loc="left")
    _finish(figure, comparison, f"{comparison.title} ({part})")
    return figure


def mean_bars(rows: Sequence[CaseScore], comparison: Comparison) -> Figure:
    """Draw mDSC and mHD of every run side by side, many below each other: Figure 7."""
    part = comparison.parts[0]
    own = [rows_of(rows, run.label, part) for run in comparison.runs]
    is_tall = len(own) > MANY_RUNS
    has_legend = is_tall or max(len(run.title) for run in comparison.runs) > LONG_TITLE
    figure = Figure(figsize=(WIDTH_IN, 8.4 if is_tall else 3.8), layout="constrained")
    titles = ("mDSC", "mHD (mm)")
    panels = figure.subplots(2, 1) if is_tall else figure.subplots(1, 2)
    for axes, measure, title in zip(panels, (DSC, HD95), titles, strict=True):
        for index, found in enumerate(own):
            height, below, above = _bar(found, measure)
            axes.bar(index, height, 0.65, **_look(index))
            axes.errorbar(index, height, [[below], [above]], **_WHISKER)
            text = "-" if math.isnan(height) else f"{height:.3f}"
            top = 0.0 if math.isnan(height) else height + above
            axes.annotate(text, (index, top), (0, 3), textcoords="offset points", ha="center")
        names = [run.title for run in comparison.runs] if not has_legend else [""] * len(own)
        axes.set_xticks(range(len(own)), names, rotation=20)
        axes.margins(y=0.12)
        axes.set_title(title)
    if has_legend:
        add_legend(figure, _patches(comparison), comparison)
    figure.suptitle(f"{comparison.title} ({part})")
    return figure


def part_bars(rows: Sequence[CaseScore], comparison: Comparison) -> Figure:
    """Draw mDSC, mHD and presence errors of every run on every part: the ablation."""
    figure = Figure(figsize=(WIDTH_IN, 8.4), layout="constrained")
    labels = ("mDSC", "mHD (mm)", "Presence errors\n(slices per case)")
    measures = (DSC, HD95, PRESENCE_ERRORS)
    for axes, measure, label in zip(figure.subplots(3, 1), measures, labels, strict=True):
        series = [
            [_part_bar(rows_of(rows, run.label, part), measure) for part in comparison.parts]
            for run in comparison.runs
        ]
        _grouped_bars(axes, series, comparison.parts)
        axes.set_ylabel(label)
    _finish(figure, comparison, f"{comparison.title}: every part")
    return figure


def structure_boxes(rows: Sequence[CaseScore], comparison: Comparison) -> Figure:
    """Draw the spread of DSC and 95HD over cases, per structure and run."""
    part = comparison.parts[0]
    own = [rows_of(rows, run.label, part) for run in comparison.runs]
    groups = ordered_structures([row for found in own for row in found])
    figure = Figure(figsize=(WIDTH_IN, 6.4), layout="constrained")
    for axes, measure in zip(figure.subplots(2, 1), (DSC, HD95), strict=True):
        for index, found in enumerate(own):
            for group, name in enumerate(groups):
                values = [measure.value(row) for row in select(found, structure=name)]
                _box(axes, group + _offset(index, len(own)), values, index, len(own))
        axes.set_xticks(range(len(groups)), groups)
        axes.set_ylabel(measure.heading)
    _finish(figure, comparison, f"{comparison.title}: cases ({part})")
    return figure


def save_figure(draw: Callable[[], Figure], folder: Path, name: str) -> list[Path]:
    """Draw a figure and write it as SVG and PNG without dates or versions."""
    with mpl.rc_context(STYLE):
        figure = draw()
        paths = [folder / f"{name}.svg", folder / f"{name}.png"]
        figure.savefig(paths[0], metadata={"Date": None, "Creator": None})
        figure.savefig(paths[1], dpi=150, metadata={"Software": None})
    return paths


_WHISKER: dict[str, Any] = {"fmt": "none", "ecolor": "#222222", "elinewidth": 1.0, "capsize": 2.5}


def _bar(rows: Sequence[CaseScore], measure: Measure) -> Bar:
    mean, interval = mean_of(rows, measure), mean_interval(rows, measure)
    if math.isnan(mean):
        return math.nan, 0.0, 0.0
    # rounding may put an interval of equal values beside their mean
    return mean, max(0.0, mean - interval.low), max(0.0, interval.high - mean)


def _part_bar(rows: Sequence[CaseScore], measure: Measure) -> Bar:
    """Return a mean over structures, or of counts the sum over structures."""
    height, below, above = _bar(rows, measure)
    factor = len(ordered_structures(rows)) if measure is PRESENCE_ERRORS else 1
    return height * factor, below * factor, above * factor


def _grouped_bars(axes: Axes, series: Sequence[Sequence[Bar]], groups: Sequence[str]) -> None:
    width = GROUP_SHARE / len(series)
    for index, bars in enumerate(series):
        places = np.arange(len(groups)) + _offset(index, len(series))
        heights, below, above = np.array(bars).T
        axes.bar(places, heights, width * 0.92, **_look(index))
        axes.errorbar(places, heights, [below, above], **_WHISKER)
    axes.set_xticks(range(len(groups)), groups)
    if len(groups) > MANY_GROUPS:
        axes.tick_params(axis="x", labelrotation=20)


def _box(axes: Axes, place: float, values: Sequence[float], index: int, runs: int) -> None:
    """Draw the box of what is finite, and how many are infinite above it."""
    finite = [value for value in values if math.isfinite(value)]
    look = {key: value for key, value in _look(index).items() if key != "color"}
    if finite:
        axes.boxplot(
            [finite],
            positions=[place],
            widths=GROUP_SHARE / runs * 0.8,
            patch_artist=True,
            manage_ticks=False,
            boxprops={**look, "facecolor": COLORS[index % len(COLORS)]},
            medianprops={"color": "#000000"},
            flierprops={"marker": ".", "markersize": 4, "markeredgecolor": "#444444"},
        )
    infinite = sum(math.isinf(value) for value in values)
    if infinite:
        transform = axes.get_xaxis_transform()
        turn: dict[str, Any] = {"rotation": 90, "va": "bottom"} if runs > MANY_RUNS else {}
        text = f"{infinite} inf"
        axes.text(place, 1.0, text, transform=transform, ha="center", fontsize=7, **turn)


def _offset(index: int, count: int) -> float:
    return (index - (count - 1) / 2) * GROUP_SHARE / count


def _look(index: int) -> dict[str, Any]:  # Any: matplotlib's keywords
    hatch = HATCHES[index // len(COLORS) % len(HATCHES)]
    return {"color": COLORS[index % len(COLORS)], "edgecolor": "#222222", "hatch": hatch}


def _finish(figure: Figure, comparison: Comparison, title: str) -> None:
    """Add the title and one legend for all axes."""
    add_legend(figure, _patches(comparison), comparison)
    figure.suptitle(title)


def add_legend(figure: Figure, handles: Sequence[Artist], comparison: Comparison) -> None:
    """Add the runs' names below all axes, in as many columns as fit the width."""
    titles = [run.title for run in comparison.runs]
    columns = min(LEGEND_COLUMNS, len(titles))
    while columns > 1 and _legend_width(titles, columns) > LEGEND_CHARACTERS:
        columns -= 1
    further_rows = max(0, -(-len(titles) // columns) - LEGEND_ROWS)
    if further_rows:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + further_rows * LEGEND_ROW_IN)
    figure.legend(handles, titles, loc="outside lower center", ncols=columns)


def _legend_width(titles: Sequence[str], columns: int) -> int:
    """Count the characters of the longest titles of all columns, filled one after the other."""
    shares = np.array_split(np.array([len(title) for title in titles]), columns)
    return sum(int(share.max()) for share in shares)


def _patches(comparison: Comparison) -> list[Artist]:
    return [Patch(**_legend_look(i)) for i in range(len(comparison.runs))]


def _legend_look(index: int) -> dict[str, Any]:  # Any: as above
    look = _look(index)
    return {"facecolor": look.pop("color"), **look}
