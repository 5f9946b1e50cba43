"""Commands of `cervicontour-client experiment`."""

from itertools import islice
from pathlib import Path
from uuid import UUID

import click

from services.client.cli.options import (
    OUT_FILE,
    OUT_FOLDER,
    Axis,
    Json,
    Names,
    Numbers,
    Setting,
    limited,
)
from services.client.cli.progress import RunBars, duration, work_bar
from services.client.cli.session import Session, service_options, table
from services.client.client import CerviContourClient
from services.client.errors import WorkFailedError
from services.client.models import Experiment, Leaderboard, Place, Plan

KINDS = ("training", "grid-search", "loss-comparison", "network-comparison")
EXPERIMENT_STATES = ("running", "finished")


@click.group("experiment")
def group() -> None:
    """Train, compare and search; every run is work that training workers share.

    \b
    Example:  cervicontour-client experiment start training "Cervix 2026" --watch
    """


@group.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("version")
@click.option("--name", help="What the experiment is called.")
@click.option("--recipe", help="Settings to begin with; the service's leanest without one.")
@click.option(
    "--set", "settings", type=Setting(), multiple=True, help="Another value of a setting."
)
@click.option("--seeds", type=Numbers(), help="A run of every configuration for each.")
@click.option("--axis", "axes", type=Axis(), multiple=True, help="Of a grid search.")
@click.option("--losses", type=Names(), help="Of a loss comparison.")
@click.option("--networks", type=Names(), help="Of a network comparison.")
@click.option("--epochs", type=click.IntRange(min=1), help="Of a run, at most.")
@click.option("--max-seconds", type=float, help="Of a run's training, at most.")
@click.option("--dry-run", is_flag=True, help="Only tell the runs and how long they may take.")
@click.option("--watch", is_flag=True, help="Follow the runs to their end.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def start(
    session: Session, kind: str, version: str, *, dry_run: bool, watch: bool, **options: object
) -> None:
    """Queue the runs that answer a question on a dataset version.

    VERSION is an id, NAME:NUMBER, or NAME for its latest version that succeeded.

    \b
    Example:  cervicontour-client experiment start grid-search "Cervix 2026" --epochs 30 \\
                  --axis training.learning_rate=0.01,0.001 --axis training.batch_size=4,8
    """
    wanted, asked = kind.replace("-", "_"), _asked(options)
    with session.client() as client:
        version_id = client.datasets.find_version_id(version)
        if dry_run:
            plan = client.experiments.plan(wanted, version_id, asked)
            session.show(plan, *_plan_lines(plan))
            return
        experiment = client.experiments.start(wanted, version_id, asked)
        if watch:
            click.echo(experiment.id, err=True)
            _follow(client, session, experiment.id)
        else:
            runs = sum(experiment.runs.values())
            session.show(experiment, f"{experiment.id}  {runs} runs queued")


@group.command("watch")
@click.argument("experiment", type=click.UUID)
@service_options
@click.make_pass_decorator(Session, ensure=True)
def watch_(session: Session, experiment: UUID) -> None:
    """Follow the runs of an experiment to their end; exit code 1 if none succeeded.

    \b
    Example:  cervicontour-client experiment watch 7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10
    """
    with session.client() as client:
        _follow(client, session, experiment)


@group.command("list")
@click.option("--state", type=click.Choice(EXPERIMENT_STATES), help="Only these.")
@limited
@service_options
@click.make_pass_decorator(Session, ensure=True)
def list_(session: Session, *, state: str | None, limit: int) -> None:
    """List experiments, newest first.

    \b
    Example:  cervicontour-client experiment list --state running
    """
    with session.client() as client:
        session.show_list(
            islice(client.experiments.list_all(state=state), limit),
            ("experiment", "kind", "name", "state", "runs", "progress", "left", "best Dice"),
            lambda experiment: (
                experiment.id,
                experiment.kind,
                experiment.name,
                experiment.state,
                sum(experiment.runs.values()),
                f"{experiment.progress:.0%}",
                None if experiment.eta_seconds is None else duration(experiment.eta_seconds),
                experiment.best_mean_dice,
            ),
        )


@group.command()
@click.argument("experiment", type=click.UUID)
@service_options
@click.make_pass_decorator(Session, ensure=True)
def show(session: Session, experiment: UUID) -> None:
    """Show where an experiment stands, and its leaderboard.

    \b
    Example:  cervicontour-client experiment show 7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10
    """
    with session.client() as client:
        found = client.experiments.get(experiment)
        board = client.experiments.leaderboard(experiment)
    _show(session, found, board)


@group.command()
@click.argument("experiment", type=click.UUID)
@service_options
@click.make_pass_decorator(Session, ensure=True)
def cancel(session: Session, experiment: UUID) -> None:
    """End queued runs at once and ask running ones to stop.

    \b
    Example:  cervicontour-client experiment cancel 7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10
    """
    with session.client() as client:
        found = client.experiments.cancel(experiment)
    session.show(found, _state_line(found))


@group.command()
@click.argument("experiments", nargs=-1, required=True, type=click.UUID)
@click.option("--out", type=OUT_FOLDER, required=True, help="Folder to fill.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def report(session: Session, experiments: tuple[UUID, ...], out: Path) -> None:
    """Download tables, figures and statistics of experiments; they are made where missing.

    \b
    Example:  cervicontour-client experiment report 7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10 \\
                  --out report
    """
    with session.client() as client:
        with work_bar() as on_progress:
            found = client.experiments.report(experiments, on_progress)
        written = client.experiments.download_report(found, out)
    session.show(found, *(str(path) for path in written))


@group.command()
@click.argument("experiment", type=click.UUID)
@click.option("--out", type=OUT_FILE, required=True, help="The CSV file to write.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def scores(session: Session, experiment: UUID, out: Path) -> None:
    """Download the scores of every run, case and structure, as `cervicontour report` reads them.

    \b
    Example:  cervicontour-client experiment scores 7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10 \\
                  --out scores.csv
    """
    with session.client() as client:
        client.experiments.download_scores(experiment, out)
        session.show(client.experiments.get(experiment), str(out))


def _asked(options: dict[str, object]) -> Json:
    """Return the body of the request; what was not said is left to the service."""
    budget = {"max_epochs": options.pop("epochs"), "max_seconds": options.pop("max_seconds")}
    budget = {name: value for name, value in budget.items() if value is not None}
    for name in ("settings", "axes"):
        pairs = options[name]
        options[name] = dict(pairs) if isinstance(pairs, tuple) else {}
    return {name: value for name, value in (options | {"budget": budget}).items() if value}


def _follow(client: CerviContourClient, session: Session, experiment_id: UUID) -> None:
    with RunBars() as bars:
        for change in client.experiments.events(experiment_id):
            bars.show(change)
    experiment = client.experiments.get(experiment_id)
    _show(session, experiment, client.experiments.leaderboard(experiment_id))
    if not experiment.runs.get("succeeded"):
        raise WorkFailedError("no_run_succeeded", f"no run of {experiment_id} succeeded")


def _show(session: Session, experiment: Experiment, board: Leaderboard) -> None:
    rows = [
        (p.place, p.label, p.mean_dice, p.spread, p.test_dice, _runs(p), p.best_run_id)
        for p in board.places
    ]
    headings = ("place", "configuration", "Dice", "spread", "test Dice", "runs", "best run")
    shown = experiment.model_copy(update={"leaderboard": board.model_dump(mode="json")})
    session.show(shown, _state_line(experiment), table(headings, list(rows)))


def _runs(place: Place) -> str:
    parts = ((place.succeeded, "done"), (place.failed, "failed"), (place.unfinished, "open"))
    return ", ".join(f"{count} {name}" for count, name in parts if count)


def _state_line(experiment: Experiment) -> str:
    runs = ", ".join(f"{count} {state}" for state, count in experiment.runs.items())
    left = "" if experiment.eta_seconds is None else f", {duration(experiment.eta_seconds)} left"
    return f"{experiment.id}  {experiment.name}: {experiment.state} ({runs}{left})"


def _plan_lines(plan: Plan) -> list[str]:
    seconds = plan.estimate.wall_seconds
    time = "unknown, nothing alike was measured here" if seconds is None else duration(seconds)
    return [
        table(("run", "seed"), [(run.label, run.seed) for run in plan.runs]),
        f"{len(plan.runs)} runs, {plan.estimate.epochs} epochs at most, "
        f"{plan.estimate.workers} training workers; time: {time}",
    ]
