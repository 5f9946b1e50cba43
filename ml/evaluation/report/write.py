"""A report's folder: the rows it is made of, tables, figures, and one page that shows all."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ml.evaluation.report.comparison_tables import (
    means_table,
    parts_table,
    table_1,
    table_1_slicewise,
)
from ml.evaluation.report.detail_tables import grades_table, paired_table, statistics_table
from ml.evaluation.report.figures import (
    mean_bars,
    part_bars,
    save_figure,
    structure_bars,
    structure_boxes,
)
from ml.evaluation.report.plan import Comparison, ComparisonKind, ReportPlan
from ml.evaluation.report.tables import Table
from ml.evaluation.rows import CaseScore, write_rows
from ml.grading import StructureGrades

PAGE = "report.md"
ROWS_FILE = "rows.csv"
FIGURES = {
    ComparisonKind.NETWORKS: structure_bars,
    ComparisonKind.LOSSES: mean_bars,
    ComparisonKind.ABLATION: part_bars,
}
"""The figure of every kind; the spread over cases follows for all."""


def write_report(
    folder: Path,
    rows: Sequence[CaseScore],
    plan: ReportPlan,
    grades: Sequence[StructureGrades] = (),
) -> Path:
    """Write tables (csv, md) and figures (svg, png) of every comparison; return the page.

    Equal rows and plans give equal files.

    Args:
        folder: made if it is not there; files of the same names are replaced.
        rows: of all runs and parts the plan names.
        plan: what is compared.
        grades: of a reader study, if there was one.

    Raises:
        ReportError: a run of the plan has no row on one of its parts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / ROWS_FILE, rows)
    page = [f"# {plan.title}", ""]
    for comparison in plan.comparisons:
        page += [f"## {comparison.title}", ""]
        page += _write_tables(folder, _tables(rows, comparison))
        page += _write_figures(folder, rows, comparison)
    if grades:
        page += _write_tables(folder, [grades_table(grades)])
    path = folder / PAGE
    path.write_text("\n".join(page).rstrip("\n") + "\n", encoding="utf-8")
    return path


def _tables(rows: Sequence[CaseScore], comparison: Comparison) -> list[Table]:
    tables = [table_1(rows, comparison), table_1_slicewise(rows, comparison)]
    tables.append(means_table(rows, comparison))
    if len(comparison.parts) > 1:
        tables.append(parts_table(rows, comparison))
    if comparison.others:
        tables.append(paired_table(rows, comparison))
    return [*tables, statistics_table(rows, comparison)]


def _write_tables(folder: Path, tables: Sequence[Table]) -> list[str]:
    """Write tables and return their place on the page; the longest is only linked."""
    page: list[str] = []
    for table in tables:
        text = table.to_markdown()
        (folder / f"{table.name}.csv").write_text(table.to_csv(), encoding="utf-8")
        (folder / f"{table.name}.md").write_text(text, encoding="utf-8")
        linked = table.name.endswith("_statistics")
        page.append(f"All statistics: [{table.name}.csv]({table.name}.csv)\n" if linked else text)
    return page


def _write_figures(folder: Path, rows: Sequence[CaseScore], comparison: Comparison) -> list[str]:
    page: list[str] = []
    for name, draw in (("figure", FIGURES[comparison.kind]), ("boxes", structure_boxes)):
        stem = f"{comparison.name}_{name}"
        save_figure(partial(draw, rows, comparison), folder, stem)
        page.append(f"![{comparison.title}, {name}]({stem}.png)\n")
    return page
