"""A phantom on disk: CT series, label array and a record of how it was made."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.arrays import LabelVolume
from ml.phantom.cohort import Phantom
from ml.phantom.ct_writer import CtOptions, TransferSyntax, write_ct_series
from ml.phantom.orientation import PatientPosition, RowOrder, reorient
from ml.structures import CERVIX

CT_FOLDER = "ct"
LABELS_NAME = "labels.npz"
RECORD_NAME = "phantom.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageOptions:
    """How a phantom is laid out in its files; its voxels stay at their places in the patient."""

    position: PatientPosition = PatientPosition.HFS
    row_order: RowOrder = RowOrder.NATIVE
    transfer_syntax: TransferSyntax = TransferSyntax.EXPLICIT_LITTLE_ENDIAN


def write_phantom(phantom: Phantom, folder: Path, options: StorageOptions | None = None) -> None:
    """Fill a folder with ct/*.dcm, labels.npz on the series' own grid, and phantom.json.

    Raises:
        FileExistsError: the folder already holds a series.
    """
    options = options or StorageOptions()
    write_ct_series(phantom.volume, folder / CT_FOLDER, ct_options(phantom, options))
    labels = stored_labels(phantom, options)
    np.savez_compressed(folder / LABELS_NAME, labels=labels, names=np.array(CERVIX.names))
    (folder / RECORD_NAME).write_text(json.dumps(record(phantom, options), indent=1) + "\n")


def ct_options(phantom: Phantom, options: StorageOptions) -> CtOptions:
    """Return the identity a phantom's series carries; each seed and tier has its own UIDs."""
    seed, tier = phantom.spec.seed, phantom.spec.tier.value
    return CtOptions(
        identity=f"cervicontour/phantom/{phantom.generator_version}/{tier}/{seed}",
        patient_name=f"PHANTOM^{seed}",
        patient_id=f"PHANTOM-{seed}",
        position=options.position,
        row_order=options.row_order,
        transfer_syntax=options.transfer_syntax,
        series_description=f"Synthetic pelvic CT, seed {seed}",
    )


def stored_labels(phantom: Phantom, options: StorageOptions) -> LabelVolume:
    """Return the labels on the series' own grid, slices ascending along its normal."""
    _, way = reorient(phantom.volume.geometry, options.position, options.row_order)
    return way.array(phantom.labels)


def record(phantom: Phantom, options: StorageOptions) -> dict[str, object]:
    """Return all that is needed to make the phantom again, and all that was drawn for it."""
    return {
        "generator_version": phantom.generator_version,
        "seed": phantom.spec.seed,
        "tier": phantom.spec.tier.value,
        "storage": dataclasses.asdict(options),
        "anatomy": dataclasses.asdict(phantom.anatomy),
        "tissue": dataclasses.asdict(phantom.tissue),
        "acquisition": dataclasses.asdict(phantom.acquisition),
    }
