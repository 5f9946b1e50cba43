"""One CT's slices on the network's grid, cached as memory-mapped arrays.

folder/<hash of the crop>/<case id>/
case.json              patient, spacing, lost voxels, sha256 of the case the crop came from
hu.npy  labels.npy     int16 and uint8, slice row column, in LPS order
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ml.arrays import HuVolume, LabelVolume
from ml.config import PreprocessingConfig
from ml.data.dataset import Dataset, DatasetError, LabelledCase, case_sha256
from ml.data.pools import map_in_processes
from ml.preprocessing.crop import plan_crop
from ml.preprocessing.intensity import guard_range_hu

FORMAT = 1
"""Part of the hash: crops of another format are not found, and made anew."""
CASE_FILE = "case.json"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Case:
    """The crops of one CT, in LPS order."""

    case_id: str
    patient_id: str
    source_sha256: str
    """Of the labelled case the crops were taken from."""
    hu: HuVolume
    """HU on the crop's grid, clipped to the guard range."""
    labels: LabelVolume
    spacing_mm: tuple[float, float, float]
    """Slice, row and column spacing of the crops."""
    lost_label_voxels: int
    """Labelled voxels of the CT that lie outside the crop."""


def crop_hash(config: PreprocessingConfig) -> str:
    """Hash what decides a crop; windows count by their guard range alone, context not at all."""
    facts = [FORMAT, *guard_range_hu(config), config.crop_size_px, config.pixel_spacing_mm]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def cache_case(case: LabelledCase, config: PreprocessingConfig, folder: Path) -> Case:
    """Return the crops of a case, made and written to the cache unless they are there.

    Raises:
        NotAxialError: the series is not axial.
    """
    target = folder / crop_hash(config) / case.case_id
    sha256 = case_sha256(case)
    if not _is_current(target, case.patient_id, sha256):
        _write_case(_cropped(case, config, sha256), target)
    return open_case(target)


def cache_cases(
    dataset: Dataset,
    case_ids: Sequence[str],
    config: PreprocessingConfig,
    folder: Path,
    processes: int = 1,
    *,
    on_made: Callable[[int, int], None] | None = None,
) -> list[Case]:
    """Return the crops of a dataset's cases in the order asked for; missing ones are made.

    on_made: hears after each how many of the missing ones are made, and may raise to stop.

    A cached crop is used again only if the dataset's case still has the sha256 it was made from;
    of the cases themselves nothing is read for that.

    Raises:
        DatasetError: the dataset lacks one of the cases.
        NotAxialError: a series is not axial.
    """
    facts = {f.case_id: f for f in dataset.facts()}
    unknown = [case_id for case_id in case_ids if case_id not in facts]
    if unknown:
        raise DatasetError(f"{dataset.name} has no case {', '.join(unknown)}")
    targets = [folder / crop_hash(config) / case_id for case_id in case_ids]
    missing = [
        case_id
        for case_id, target in zip(case_ids, targets, strict=True)
        if not _is_current(target, facts[case_id].patient_id, facts[case_id].sha256)
    ]
    make = partial(_cache_one, dataset, config, folder)
    for made, _ in enumerate(map_in_processes(make, missing, processes), start=1):
        if on_made is not None:
            on_made(made, len(missing))
    return [open_case(target) for target in targets]


def open_case(folder: Path) -> Case:
    """Open cached crops without reading the arrays into memory."""
    facts = json.loads((folder / CASE_FILE).read_text())
    return Case(
        case_id=facts["case_id"],
        patient_id=facts["patient_id"],
        source_sha256=facts["source_sha256"],
        hu=np.load(folder / "hu.npy", mmap_mode="r"),
        labels=np.load(folder / "labels.npy", mmap_mode="r"),
        spacing_mm=tuple(facts["spacing_mm"]),
        lost_label_voxels=facts["lost_label_voxels"],
    )


def _cache_one(dataset: Dataset, config: PreprocessingConfig, folder: Path, case_id: str) -> None:
    cache_case(dataset.read_case(case_id), config, folder)


def _cropped(case: LabelledCase, config: PreprocessingConfig, sha256: str) -> Case:
    crop, _ = plan_crop(case.volume, config)
    labels = crop.alignment.to_lps(case.labels)
    covered = labels[:, crop.rows.covered, crop.columns.covered]
    hu = crop.guarded_hu(crop.alignment.to_lps(case.volume.hu))
    return Case(
        case_id=case.case_id,
        patient_id=case.patient_id,
        source_sha256=sha256,
        hu=np.rint(hu).astype(np.int16),
        labels=crop.labels(labels),
        spacing_mm=(
            float(crop.geometry.slice_spacing_mm),
            config.pixel_spacing_mm,
            config.pixel_spacing_mm,
        ),
        lost_label_voxels=int(np.count_nonzero(labels) - np.count_nonzero(covered)),
    )


def _is_current(target: Path, patient_id: str, sha256: str) -> bool:
    path = target / CASE_FILE
    if not path.exists():
        return False
    facts = json.loads(path.read_text())
    return (facts["patient_id"], facts["source_sha256"]) == (patient_id, sha256)


def _write_case(case: Case, target: Path) -> None:
    """Write under a temporary name: a folder with the case's name is complete."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    np.save(unfinished / "hu.npy", case.hu)
    np.save(unfinished / "labels.npy", case.labels)
    facts = {
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        "source_sha256": case.source_sha256,
        "spacing_mm": case.spacing_mm,
        "lost_label_voxels": case.lost_label_voxels,
    }
    (unfinished / CASE_FILE).write_text(json.dumps(facts, indent=1) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    try:
        unfinished.rename(target)
    except OSError:
        # another process may have finished the same crop since
        if not _is_current(target, case.patient_id, case.source_sha256):
            raise
        shutil.rmtree(unfinished)
