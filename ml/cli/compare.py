"""`cervicontour compare`: the paper's comparisons and its grid, on a dataset."""

from pathlib import Path

import click

from ml.cli.errors import BadInputError, refusing
from ml.cli.options import ANY_PATH
from ml.cli.progress import show_progress
from ml.cli.runs import configuration_options, json_or_text, open_split, read_config, run_data
from ml.config import RunConfig
from ml.experiments.assessment import Assessment, assess_all
from ml.experiments.execution import CHECKPOINT_FILE, ExperimentError
from ml.experiments.scheduling import run_plan
from ml.planning.plan import (
    PAPER_GRID,
    PlannedRun,
    plan_grid_search,
    plan_loss_comparison,
    plan_network_comparison,
)
from ml.planning.ranking import RunOutcome, rank

KINDS = ("losses", "networks", "grid")


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("dataset", type=ANY_PATH)
@click.option("--out", type=ANY_PATH, required=True, help="Folder of the experiment.")
@configuration_options
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="How many.")
@click.option(
    "--axis",
    "axes",
    multiple=True,
    metavar="NAME=V1,V2",
    help="Axis of the grid; by default the paper's learning rates and batch sizes.",
)
@click.option("--crops", type=ANY_PATH, help="Where crops are kept.")
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True)
@click.option("--dry-run", is_flag=True, help="List the runs and stop.")
def command(
    kind: str,
    dataset: Path,
    out: Path,
    recipe: str,
    config_file: Path | None,
    settings: tuple[str, ...],
    seeds: int,
    axes: tuple[str, ...],
    crops: Path | None,
    processes: int,
    *,
    dry_run: bool,
) -> None:
    """Train every variant with several seeds and rank them by their validation Dice.

    The test cases are scored too (rows in OUT/rows), but play no part in the ranking. An
    interrupted comparison goes on where it was.

    \b
    Example:  cervicontour compare losses data/cervix --out runs/losses --recipe paper
              cervicontour compare grid data/cervix --out runs/grid \\
                  --axis training.learning_rate=1e-3,1e-4 --axis training.batch_size=8,16
    """
    base = read_config(recipe, config_file, settings)
    plan = _plan(kind, base, range(seeds), axes)
    if dry_run:
        for run in plan:
            click.echo(run.name)
        return
    data = run_data(dataset, crops)
    with refusing("run", ExperimentError):
        ended = show_progress(
            run_plan(plan, data, out / "runs", processes), total=len(plan), what="runs", unit="run"
        )
        outcomes = {run.name: outcome for run, outcome in ended}
    _score(plan, outcomes, dataset, out, processes)
    for place in rank([outcomes[run.name] for run in plan]):
        click.echo(
            f"{place.place:>2} {place.label:<40} validation Dice {place.mean_dice:.3f}, "
            f"spread over seeds {place.spread:.3f}, {place.failed} failed"
        )


def _plan(kind: str, base: RunConfig, seeds: range, axes: tuple[str, ...]) -> list[PlannedRun]:
    if axes and kind != "grid":
        raise BadInputError("usage", "--axis belongs to the grid")
    if kind == "losses":
        return plan_loss_comparison(base, seeds)
    if kind == "networks":
        return plan_network_comparison(base, seeds)
    return plan_grid_search(base, seeds, dict(_axis(axis) for axis in axes) or PAPER_GRID)


def _axis(text: str) -> tuple[str, list[object]]:
    name, separator, values = text.partition("=")
    if not separator or not values:
        raise BadInputError("axis", f"{text!r} is not like training.batch_size=8,16")
    return name, [json_or_text(value) for value in values.split(",")]


def _score(
    plan: list[PlannedRun],
    outcomes: dict[str, RunOutcome],
    folder: Path,
    out: Path,
    processes: int,
) -> None:
    dataset, split = open_split(folder)
    cases = tuple(dataset.case_ids(split.test))
    assessments = [
        Assessment(
            label=run.label,
            seed=run.seed,
            checkpoints=(out / "runs" / run.name / CHECKPOINT_FILE,),
            parts={"test": cases},
        )
        for run in plan
        if outcomes[run.name].failure is None and cases
    ]
    assess_all(assessments, dataset, out / "rows", processes)
