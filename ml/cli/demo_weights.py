"""`cervicontour demo-weights`: what the packaged weights came from."""

from pathlib import Path

import click

from ml.checkpoint import demo_weights_path
from ml.cli.options import ANY_PATH
from ml.experiments.demo_weights import DemoPreset, make_demo_weights


@click.command()
@click.option("--folder", type=ANY_PATH, default=Path("var/study"), show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=demo_weights_path(),
    help="Weights file; the card goes beside it.  [default: the packaged one]",
)
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True)
def command(folder: Path, out: Path, processes: int) -> None:
    """Train the packaged demonstration weights again, on synthetic patients alone.

    FOLDER may be the study's: phantoms that are there are used. An interrupted run goes on.

    Example:  cervicontour -v demo-weights
    """
    make_demo_weights(
        DemoPreset(), folder, out, processes=processes, command="cervicontour demo-weights"
    )
    click.echo(out)
