"""`cervicontour train`: one network from a dataset."""

import dataclasses
from pathlib import Path

import click

from ml.cli.errors import BadInputError, refusing
from ml.cli.options import ANY_PATH, EXISTING_FILE
from ml.cli.runs import configuration_options, read_config, run_data
from ml.cli.training_progress import TrainingProgress
from ml.experiments.execution import (
    CHECKPOINT_FILE,
    EPOCHS_FILE,
    ExperimentError,
    RunStoppedError,
    cache_crops,
    execute_run,
)
from ml.networks.imagenet import EncoderWeightsError
from ml.planning.plan import plan_training


@click.command()
@click.argument("dataset", type=ANY_PATH)
@click.option(
    "--out",
    type=ANY_PATH,
    required=True,
    help="Folder of the run; one that holds an unfinished run is taken up again.",
)
@configuration_options
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--encoder-weights",
    type=EXISTING_FILE,
    help="ImageNet weights of ResNet34 to start from, in a local file with torchvision's names.",
)
@click.option("--device", default="cpu", show_default=True, help="As torch has it, such as cuda.")
@click.option("--crops", type=ANY_PATH, help="Where crops are kept.")
@click.option("--processes", type=click.IntRange(1), default=1, help="That make crops.")
def command(
    dataset: Path,
    out: Path,
    recipe: str,
    config_file: Path | None,
    settings: tuple[str, ...],
    seed: int,
    encoder_weights: Path | None,
    device: str,
    crops: Path | None,
    processes: int,
) -> None:
    """Train a network on the training cases of DATASET, choosing the epoch on its validation cases.

    Ctrl-C ends it after the present batch; the same command goes on after the last whole epoch.

    \b
    Example:  cervicontour train data/cervix --out runs/first --recipe paper \\
                  --set loss.name=dice --set training.max_epochs=20
    """
    [run] = plan_training(read_config(recipe, config_file, settings), [seed])
    data = dataclasses.replace(
        run_data(dataset, crops), encoder_weights=encoder_weights, device=device
    )
    out.mkdir(parents=True, exist_ok=True)
    with (
        refusing("run", ExperimentError),
        refusing("stopped", RunStoppedError),
        refusing("encoder_weights", EncoderWeightsError),
    ):
        cache_crops([run.config], data, processes)
        with TrainingProgress(out / EPOCHS_FILE) as progress:
            outcome = execute_run(run, data, out, progress)
    if outcome.failure is not None:
        raise BadInputError("run_failed", outcome.failure)
    for structure, dice in outcome.validation_dice.items():
        click.echo(f"{structure:<10} validation Dice {dice:.3f}")
    click.echo(f"{outcome.epochs} epochs; weights in {out / CHECKPOINT_FILE}")
