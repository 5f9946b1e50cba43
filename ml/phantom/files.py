"""A phantom on disk: CT series, its true contours, label array and a record of how it was made."""

import dataclasses
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ml.arrays import LabelVolume, MaskVolume
from ml.dicom.files import list_source_files
from ml.dicom.rtstruct import write_rtstruct
from ml.dicom.rtstruct_shell import Provenance
from ml.dicom.series import index_series
from ml.phantom.cohort import Phantom
from ml.phantom.ct_writer import CtOptions, TransferSyntax, derived_uid, write_ct_series
from ml.phantom.orientation import PatientPosition, RowOrder, reorient
from ml.phantom.variants import PhantomVariant
from ml.structures import CERVIX, Structure

CT_FOLDER = "ct"
LABELS_NAME = "labels.npz"
RTSTRUCT_NAME = "rtstruct.dcm"
RECORD_NAME = "phantom.json"
CREATED_AT = datetime(2026, 1, 2, 10, 14, tzinfo=UTC)
"""Fixed, so that equal phantoms give equal files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageOptions:
    """How a phantom is laid out in its files; its voxels stay at their places in the patient."""

    position: PatientPosition = PatientPosition.HFS
    row_order: RowOrder = RowOrder.NATIVE
    transfer_syntax: TransferSyntax = TransferSyntax.EXPLICIT_LITTLE_ENDIAN
    structure_names: tuple[tuple[str, str], ...] = ()
    """Pairs of a structure's own name and the name written instead, as other systems spell it."""


def write_phantom(phantom: Phantom, folder: Path, options: StorageOptions | None = None) -> None:
    """Fill a folder with ct/*.dcm, rtstruct.dcm, labels.npz and phantom.json.

    The labels lie on the series' own grid, slices ascending along its normal.

    Raises:
        FileExistsError: the folder already holds a series.
        UnknownStructureError: structure_names names a structure that does not exist.
    """
    options = options or StorageOptions()
    write_ct_series(phantom.volume, folder / CT_FOLDER, ct_options(phantom, options))
    labels = stored_labels(phantom, options)
    _write_truth(phantom, folder, labels, options)
    np.savez_compressed(folder / LABELS_NAME, labels=labels, names=np.array(CERVIX.names))
    (folder / RECORD_NAME).write_text(json.dumps(record(phantom, options), indent=1) + "\n")


def _write_truth(
    phantom: Phantom, folder: Path, labels: LabelVolume, options: StorageOptions
) -> None:
    series = index_series(list_source_files(folder / CT_FOLDER))
    provenance = Provenance(
        software_version=f"phantom {phantom.generator_version}",
        model_version="truth",
        weights_sha256="0" * 64,
        created_at=CREATED_AT,
    )
    numbers = itertools.count()
    write_rtstruct(
        series,
        _named_masks(labels, dict(options.structure_names)),
        provenance,
        folder / RTSTRUCT_NAME,
        new_uid=lambda: derived_uid(series.series_instance_uid, "truth", str(next(numbers))),
    )


def _named_masks(
    labels: LabelVolume, names: dict[str, str]
) -> Iterator[tuple[Structure, MaskVolume]]:
    written = {CERVIX.get(own).number: other for own, other in names.items()}
    for structure in CERVIX.structures:
        name = written.get(structure.number, structure.name)
        yield dataclasses.replace(structure, name=name), labels == structure.number


def ct_options(phantom: Phantom, options: StorageOptions) -> CtOptions:
    """Return the identity a phantom's series carries; each spec has its own UIDs."""
    seed, tier = phantom.spec.seed, phantom.spec.tier.value
    variant = phantom.spec.variant
    suffix = "" if variant is PhantomVariant.STANDARD else f"/{variant}"
    return CtOptions(
        identity=f"cervicontour/phantom/{phantom.generator_version}/{tier}/{seed}{suffix}",
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
        "variant": phantom.spec.variant.value,
        "storage": dataclasses.asdict(options),
        "anatomy": dataclasses.asdict(phantom.anatomy),
        "tissue": dataclasses.asdict(phantom.tissue),
        "acquisition": dataclasses.asdict(phantom.acquisition),
    }
