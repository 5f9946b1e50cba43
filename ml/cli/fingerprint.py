"""`cervicontour fingerprint`: what a dataset is like, and which cases ask for a look."""

from pathlib import Path

import click

from ml.cli.errors import BadInputError
from ml.cli.options import ANY_PATH, EXISTING_FOLDER
from ml.cli.progress import show_progress
from ml.config import PreprocessingConfig
from ml.data.dataset import open_dataset
from ml.data.fingerprint.report import TEXT_NAME, describe_dataset, write_fingerprint
from ml.data.fingerprint.run import measure_dataset

CACHE_NAME = "fingerprint-cases.jsonl"
_DEFAULTS = PreprocessingConfig()


@click.command()
@click.argument("dataset", type=EXISTING_FOLDER)
@click.option("--out", type=ANY_PATH, help="Folder of the report.  [default: DATASET]")
@click.option(
    "--crop-size-px",
    type=click.IntRange(1),
    default=_DEFAULTS.crop_size_px,
    show_default=True,
    help="Of the network's input: labels outside it are counted.",
)
@click.option(
    "--pixel-spacing-mm",
    type=click.FloatRange(0, min_open=True),
    default=_DEFAULTS.pixel_spacing_mm,
    show_default=True,
)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True)
def command(
    *, dataset: Path, out: Path | None, crop_size_px: int, pixel_spacing_mm: float, processes: int
) -> None:
    """Describe DATASET: spacing, HU, volumes, absent slices, duplicates and outliers.

    Writes fingerprint.json and fingerprint.md. Cases that were measured before are not measured
    again, so that a stopped run goes on where it was.

    Example:  cervicontour fingerprint data/cervix
    """
    out = out or dataset
    config = PreprocessingConfig(crop_size_px=crop_size_px, pixel_spacing_mm=pixel_spacing_mm)
    opened = open_dataset(dataset)
    total = len(opened.facts())
    if not total:
        raise BadInputError("dataset_empty", f"{opened.name} has no case")
    running = measure_dataset(opened, config, out / CACHE_NAME, processes)
    cases = list(show_progress(running, total=total, what="cases", unit="case"))
    found = describe_dataset(opened, cases, config)
    write_fingerprint(found, out)
    click.echo(f"{total} cases, {len(found.flags)} findings; report: {out / TEXT_NAME}")
