"""`cervicontour report`: tables and figures of scored runs."""

from pathlib import Path

import click

from ml.cli.errors import refusing
from ml.cli.options import ANY_PATH, EXISTING_FOLDER, Values
from ml.evaluation.report.plan import (
    Comparison,
    ComparisonKind,
    ReportedRun,
    ReportError,
    ReportPlan,
)
from ml.evaluation.report.write import write_report
from ml.evaluation.rows import CaseScore, RowsError, read_rows
from ml.experiments.curves import read_curves


@click.command()
@click.argument("rows", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=ANY_PATH, required=True, help="Folder to fill.")
@click.option("--title", default="Report", show_default=True)
@click.option(
    "--kind",
    type=Values(ComparisonKind),
    default=ComparisonKind.NETWORKS.value,
    show_default=True,
    help="Which figure is drawn.",
)
@click.option(
    "--runs",
    multiple=True,
    type=EXISTING_FOLDER,
    help="Folder of the runs of `compare`, whose learning curves are drawn.",
)
@click.option("--reference", help="Run the others are tested against; the first by default.")
def command(
    rows: tuple[Path, ...],
    out: Path,
    title: str,
    kind: ComparisonKind,
    runs: tuple[Path, ...],
    reference: str | None,
) -> None:
    """Write tables (csv, markdown) and figures (svg, png) of the runs in the CSV files ROWS.

    All of it is in one file too, report.html; summary.json has the numbers for programs.

    \b
    Example:  cervicontour report runs/losses/rows/*.csv --out report --kind losses \\
                  --runs runs/losses/runs
    """
    with refusing("rows", RowsError):
        scores = [score for path in rows for score in read_rows(path)]
    if not scores:
        raise click.UsageError("the files hold no row")
    with refusing("report", ReportError):
        plan = ReportPlan(title=title, comparisons=(_comparison(scores, title, kind, reference),))
        curves = [curve for folder in runs for curve in read_curves(folder)]
        click.echo(write_report(out, scores, plan, curves=curves))


def _comparison(
    scores: list[CaseScore], title: str, kind: ComparisonKind, reference: str | None
) -> Comparison:
    labels = list(dict.fromkeys(score.run for score in scores))
    return Comparison(
        name=str(kind),
        title=title,
        kind=kind,
        runs=tuple(ReportedRun(label=label, title=label) for label in labels),
        reference=reference or labels[0],
        parts=tuple(dict.fromkeys(score.part for score in scores)),
    )
