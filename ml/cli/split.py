"""`cervicontour split`: a seeded split by patient, stored in the dataset."""

from pathlib import Path

import click

from ml.cli.errors import BadInputError
from ml.cli.options import EXISTING_FOLDER, Proportions
from ml.data.dataset import open_dataset
from ml.data.splits import PAPER_PROPORTIONS, PARTS, split_patients


@click.command()
@click.argument("dataset", type=EXISTING_FOLDER)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--proportions",
    type=Proportions(),
    default=PAPER_PROPORTIONS,
    help="Training, validation and test shares.  [default: 111:30:15, the paper's]",
)
@click.option("--replace", is_flag=True, help="Deal again although the dataset has a split.")
def command(dataset: Path, seed: int, proportions: tuple[int, int, int], *, replace: bool) -> None:
    """Deal the patients of DATASET to training, validation and test.

    All cases of a patient go to one part. The same patients, seed and proportions give the same
    split; it is stored in the dataset, so that every run of a study uses it.

    Example:  cervicontour split data/cervix --seed 1
    """
    opened = open_dataset(dataset)
    if opened.split is not None and not replace:
        raise BadInputError(
            "split_exists", f"{opened.name} is split already, with seed {opened.split.seed}"
        )
    patients = sorted({facts.patient_id for facts in opened.facts()})
    split = split_patients(patients, seed=seed, proportions=proportions)
    stored = opened.with_split(split)
    for name in PARTS:
        part = getattr(split, name)
        click.echo(f"{name:<11}{len(part):>5} patients{len(stored.case_ids(part)):>6} cases")
