"""`cervicontour predict`: contours of a CT series without the service."""

import hashlib
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click

from ml.checkpoint import Checkpoint, CheckpointError, demo_weights_path, load_checkpoint
from ml.cli.errors import BadInputError, refusing
from ml.cli.options import EXISTING_FOLDER
from ml.dicom.rtstruct import Provenance, write_rtstruct
from ml.dicom.rtstruct_check import check_rtstruct
from ml.dicom.series import index_series, list_source_files, read_volume
from ml.inference.predictor import EnsembleError, Predictor
from ml.structures import structure_set
from ml.whole_files import written_whole


@click.command()
@click.argument("series", type=EXISTING_FOLDER)
@click.option(
    "--checkpoint",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Weights; several are an ensemble.  [default: the packaged demonstration weights]",
)
@click.option("--device", default="cpu", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
def command(series: Path, paths: tuple[Path, ...], device: str, out: Path) -> None:
    """Contour the CT series in the folder SERIES and write an RTSTRUCT.

    It is checked before it is written, as the service does, and says UNAPPROVED.

    \b
    Example:  cervicontour predict ct --checkpoint runs/first/checkpoint.safetensors --out rs.dcm
    """
    if out.exists():
        raise BadInputError("exists", f"{out} is there already")
    with refusing("checkpoint", CheckpointError, EnsembleError):
        checkpoints = [load_checkpoint(path) for path in paths or (demo_weights_path(),)]
        predictor = Predictor(checkpoints, device=device)
    index = index_series(list_source_files(series))
    prediction = predictor.predict(read_volume(index))
    structures = structure_set(checkpoints[0].run_config.structure_set).structures
    masks = ((s, prediction.labels == s.number) for s in structures)
    provenance = Provenance(
        software_version=version("cervicontour"),
        model_version=" + ".join(c.card.model_version for c in checkpoints),
        weights_sha256=_joint_sha256(checkpoints),
        created_at=datetime.now(UTC),
    )
    with written_whole(out) as unfinished:
        write_rtstruct(index, masks, provenance, unfinished)
        check_rtstruct(unfinished, index)
    for name, volume_ml in prediction.volumes_ml.items():
        click.echo(f"{name:<10}{volume_ml:>8.1f} ml")
    for warning in prediction.warnings:
        click.echo(f"warning: {warning.code}: {warning.message}", err=True)


def _joint_sha256(checkpoints: list[Checkpoint]) -> str:
    """Return the hash of one checkpoint, or the hash of an ensemble's hashes in their order."""
    if len(checkpoints) == 1:
        return checkpoints[0].sha256
    return hashlib.sha256("".join(c.sha256 for c in checkpoints).encode()).hexdigest()
