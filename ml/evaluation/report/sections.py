"""What a report shows of every comparison, whichever page it is put on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from ml.evaluation.report.comparison_tables import (
    means_table,
    parts_table,
    table_1,
    table_1_slicewise,
)
from ml.evaluation.report.curve_figure import learning_curves
from ml.evaluation.report.curves import LearningCurve
from ml.evaluation.report.detail_tables import paired_table, statistics_table
from ml.evaluation.report.figures import mean_bars, part_bars, structure_bars, structure_boxes
from ml.evaluation.report.plan import Comparison, ComparisonKind
from ml.evaluation.report.tables import Table
from ml.evaluation.rows import CaseScore

FIGURES = {
    ComparisonKind.NETWORKS: structure_bars,
    ComparisonKind.LOSSES: mean_bars,
    ComparisonKind.ABLATION: part_bars,
}
"""The figure of every kind; the spread over cases follows for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFigure:
    """A figure that is drawn when its files are written."""

    stem: str
    """Of its files, without an ending."""
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """The tables and figures of one comparison."""

    name: str
    """Unique in the report."""
    title: str
    """Or nothing, for tables that have titles of their own."""
    tables: tuple[Table, ...]
    figures: tuple[ReportFigure, ...] = ()


def comparison_section(
    rows: Sequence[CaseScore], comparison: Comparison, curves: Sequence[LearningCurve]
) -> Section:
    """Lay out a comparison; learning curves follow if there are any of its runs."""
    tables = [table_1(rows, comparison), table_1_slicewise(rows, comparison)]
    tables.append(means_table(rows, comparison))
    if len(comparison.parts) > 1:
        tables.append(parts_table(rows, comparison))
    if comparison.others:
        tables.append(paired_table(rows, comparison))
    tables.append(statistics_table(rows, comparison))
    drawn: dict[str, Callable[[], Figure]] = {
        "figure": partial(FIGURES[comparison.kind], rows, comparison),
        "boxes": partial(structure_boxes, rows, comparison),
    }
    labels = {run.label for run in comparison.runs}
    own = [curve for curve in curves if curve.run in labels]
    if own:
        drawn["curves"] = partial(learning_curves, own, comparison)
    figures = tuple(
        ReportFigure(
            stem=f"{comparison.name}_{name}", caption=f"{comparison.title}, {name}", draw=draw
        )
        for name, draw in drawn.items()
    )
    return Section(
        name=comparison.name, title=comparison.title, tables=tuple(tables), figures=figures
    )


def is_only_named(table: Table) -> bool:
    """Tell whether a table is too long for a page, which then names its file."""
    return table.name.endswith("_statistics")
