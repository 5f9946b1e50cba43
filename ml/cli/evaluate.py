"""`cervicontour evaluate`: a checkpoint, or an ensemble of them, against known truth."""

from pathlib import Path

import click

from ml.checkpoint import CheckpointError, load_checkpoint
from ml.cli.errors import BadInputError, refusing
from ml.cli.options import ANY_PATH
from ml.cli.progress import show_progress
from ml.cli.runs import part_cases
from ml.data.splits import PARTS
from ml.evaluation.evaluate import evaluate_dataset, predict_labels
from ml.evaluation.rows import CaseScore, RunLabel, write_rows
from ml.inference.predictor import EnsembleError, Predictor
from ml.structures import StructureSet


@click.command()
@click.argument("dataset", type=ANY_PATH)
@click.argument(
    "checkpoints", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True)
)
@click.option("--part", type=click.Choice([*PARTS, "all"]), default="test", show_default=True)
@click.option("--label", help="Name of the run in the rows; that of the first weights by default.")
@click.option("--seed", type=int, default=0, help="Seed of the run, for the rows.")
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="CSV file for the rows.",
)
def command(
    dataset: Path,
    checkpoints: tuple[Path, ...],
    part: str,
    label: str | None,
    seed: int,
    device: str,
    out: Path,
) -> None:
    """Contour cases of DATASET with CHECKPOINTS as the service would, and score every structure.

    Several checkpoints are an ensemble. Dice, Hausdorff and surface distances are three-dimensional
    and in millimetres, on the CT's own grid. `cervicontour report` makes tables of the rows.

    \b
    Example:  cervicontour evaluate data/cervix runs/first/checkpoint.safetensors --out first.csv
    """
    with refusing("checkpoint", CheckpointError, EnsembleError):
        loaded = [load_checkpoint(path) for path in checkpoints]
        predictor = Predictor(loaded, device=device)
    opened, cases = part_cases(dataset, part)
    if loaded[0].run_config.structure_set != opened.structures.name:
        raise BadInputError("structure_set", "the weights were trained for other structures")
    run = RunLabel(run=label or loaded[0].card.model_version, seed=seed, part=part)
    rows: list[CaseScore] = []
    for case in show_progress(cases, what="cases", unit="case"):
        rows += evaluate_dataset(predict_labels(predictor), opened, [case], run)
    write_rows(out, rows)
    _say(rows, opened.structures)


def _say(rows: list[CaseScore], structures: StructureSet) -> None:
    for name in structures.names:
        own = [row for row in rows if row.structure == name and not row.is_absent]
        if own:
            dice = sum(row.dice for row in own) / len(own)
            wrong = sum(row.presence_error_slices for row in own)
            click.echo(f"{name:<10}{dice:>7.3f} mean Dice{wrong:>6} slices wrong in presence")
