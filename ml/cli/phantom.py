"""`cervicontour phantom`: synthetic CTs, one as DICOM or a cohort of them."""

from pathlib import Path

import click

from ml.cli.errors import refusing
from ml.cli.options import ANY_PATH, Values
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.phantom.ct_writer import TransferSyntax
from ml.phantom.files import StorageOptions, write_phantom
from ml.phantom.orientation import PatientPosition, RowOrder


@click.group()
def command() -> None:
    """Make synthetic pelvic CTs with their true contours; equal seeds give equal files."""


@command.command()
@click.option("--seed", type=click.IntRange(0), required=True, help="Which patient to make.")
@click.option("--out", type=ANY_PATH, required=True, help="Folder to fill.")
@click.option("--tier", type=Values(PhantomTier), default=PhantomTier.FULL.value, show_default=True)
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
def write(  # one argument an option
    *,
    seed: int,
    out: Path,
    tier: PhantomTier,
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
    phantom = generate_phantom(PhantomSpec(seed=seed, tier=tier))
    with refusing("folder_not_empty", FileExistsError):
        write_phantom(phantom, out, storage)
    click.echo(out)
