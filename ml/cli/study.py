"""`cervicontour study`: the paper's comparisons and our recipe on the phantom cohort."""

from pathlib import Path

import click

from ml.cli.errors import refusing
from ml.cli.options import ANY_PATH
from ml.experiments.execution import ExperimentError
from ml.experiments.study import StudyPreset, run_study
from ml.experiments.study_report import write_study


@click.command()
@click.option("--folder", type=ANY_PATH, default=Path("var/study"), show_default=True)
@click.option("--out", type=ANY_PATH, default=Path("docs/study"), show_default=True)
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True)
def command(folder: Path, out: Path, processes: int) -> None:
    """Train and score the paper's comparisons and our recipe on synthetic patients; takes hours.

    Phantoms, runs and rows stay in FOLDER, where an interrupted study goes on; tables and figures
    go to OUT. Put -v before `study` to see what it is doing.

    Example:  cervicontour -v study --processes 4
    """
    preset = StudyPreset()
    with refusing("study", ExperimentError):
        rows = run_study(preset, folder, processes)
    click.echo(write_study(preset, rows, folder, out))
