"""`cervicontour phantom`: synthetic CTs, one as DICOM or a cohort of them."""

from pathlib import Path

import click

from ml.cli.dicom_cohort import write_dicom_cohort
from ml.cli.errors import refusing
from ml.cli.options import ANY_PATH, Values
from ml.cli.progress import counting_progress
from ml.data.phantom_dataset import (
    COHORT_SEEDS_FROM,
    COHORT_SIZE,
    held_out_specs,
    write_phantom_dataset,
)
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.phantom.ct_writer import TransferSyntax
from ml.phantom.files import StorageOptions, write_phantom
from ml.phantom.orientation import PatientPosition, RowOrder
from ml.phantom.variants import PhantomVariant


@click.group()
def command() -> None:
    """Make synthetic pelvic CTs with their true contours; equal seeds give equal files."""


@command.command()
@click.option("--seed", type=click.IntRange(0), required=True, help="Which patient to make.")
@click.option("--out", type=ANY_PATH, required=True, help="Folder to fill.")
@click.option("--tier", type=Values(PhantomTier), default=PhantomTier.FULL.value, show_default=True)
@click.option(
    "--variant",
    type=Values(PhantomVariant),
    default=PhantomVariant.STANDARD.value,
    show_default=True,
    help="What the patient differs in from the usual one of the seed.",
)
@click.option(
    "--position",
    type=Values(PatientPosition),
    default=PatientPosition.HFS.value,
    show_default=True,
    help="How the patient lies.",
)
@click.option(
    "--row-order", type=Values(RowOrder), default=RowOrder.NATIVE.value, show_default=True
)
@click.option(
    "--transfer-syntax",
    type=Values(TransferSyntax),
    default=TransferSyntax.EXPLICIT_LITTLE_ENDIAN.value,
    show_default=True,
    help="Encoding of the pixels.",
)
def write(
    *,
    seed: int,
    out: Path,
    tier: PhantomTier,
    variant: PhantomVariant,
    position: PatientPosition,
    row_order: RowOrder,
    transfer_syntax: TransferSyntax,
) -> None:
    """Write one phantom: DICOM CT series, RTSTRUCT, label array and a record.

    Example:  cervicontour phantom write --seed 7 --out phantoms/7
    """
    storage = StorageOptions(
        position=position, row_order=row_order, transfer_syntax=transfer_syntax
    )
    phantom = generate_phantom(PhantomSpec(seed=seed, tier=tier, variant=variant))
    with refusing("folder_not_empty", FileExistsError):
        write_phantom(phantom, out, storage)
    click.echo(out)


@command.command()
@click.option("--out", type=ANY_PATH, required=True, help="The dataset, or folder of DICOM.")
@click.option(
    "--count",
    type=click.IntRange(0, 10_000),
    default=COHORT_SIZE,
    show_default=True,
    help="Patients.",
)
@click.option(
    "--held-out",
    type=click.IntRange(0, 10_000),
    default=0,
    show_default=True,
    help="Further patients of every kind that is rare or absent among the others.",
)
@click.option(
    "--tier", type=Values(PhantomTier), default=PhantomTier.SMALL.value, show_default=True
)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--dicom", is_flag=True, help="Write CT and RTSTRUCT folders as several systems name things."
)
def cohort(
    *, out: Path, count: int, held_out: int, tier: PhantomTier, processes: int, dicom: bool
) -> None:
    """Write many phantoms: a dataset to train on, or DICOM folders to try `import` on.

    What is there already is kept, so that a stopped run is continued by starting it again.

    Example:  cervicontour phantom cohort --out data/phantoms --processes 4
    """
    seeds = range(COHORT_SEEDS_FROM, COHORT_SEEDS_FROM + count)
    specs = [PhantomSpec(seed=seed, tier=tier) for seed in seeds]
    specs += held_out_specs(tier, held_out)
    with counting_progress(total=len(specs), what="phantoms", unit="case") as on_case:
        if dicom:
            write_dicom_cohort(out, specs, processes, on_case)
        else:
            write_phantom_dataset(out, out.name, specs, processes, on_case)
    click.echo(out)
