"""One patient's slices on the network's grid, cached as memory-mapped arrays."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.arrays import ByteVolume, ByteVolumeOfFours, LabelVolume
from ml.config import PreprocessingConfig
from ml.geometry import Volume
from ml.preprocessing.crop import plan_crop
from ml.preprocessing.intensity import guard_range_hu

IMAGE_LEVELS = 255
"""Images are cached as bytes over the guard range: 2.4 HU a step at a 300 HU window."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Case:
    """The crops of one patient, in LPS order."""

    patient_id: str
    images: ByteVolume
    """Guard range of the intensity window on 0..255."""
    labels: LabelVolume
    spacing_mm: tuple[float, float, float]
    """Slice, row and column spacing of the crops."""
    lost_label_voxels: int
    """Labelled voxels of the CT that lie outside the crop."""


def cache_case(
    patient_id: str, volume: Volume, labels: LabelVolume, config: PreprocessingConfig, folder: Path
) -> None:
    """Write a patient's crops to `folder/patient_id`, replacing what was there."""
    crop, _ = plan_crop(volume, config)
    low, high = guard_range_hu(config)
    hu = crop.guarded_hu(crop.alignment.to_lps(volume.hu))
    turned_labels = crop.alignment.to_lps(labels)
    covered = turned_labels[:, crop.rows.covered, crop.columns.covered]
    spacing_mm = (crop.geometry.slice_spacing_mm, config.pixel_spacing_mm, config.pixel_spacing_mm)
    case = Case(
        patient_id=patient_id,
        images=np.rint((hu - low) / (high - low) * IMAGE_LEVELS).astype(np.uint8),
        labels=crop.labels(turned_labels),
        spacing_mm=spacing_mm,
        lost_label_voxels=int(np.count_nonzero(labels) - np.count_nonzero(covered)),
    )
    _write_case(case, folder)


def open_case(folder: Path) -> Case:
    """Open a cached patient without reading its arrays into memory."""
    facts = json.loads((folder / "case.json").read_text())
    return Case(
        patient_id=facts["patient_id"],
        images=np.load(folder / "images.npy", mmap_mode="r"),
        labels=np.load(folder / "labels.npy", mmap_mode="r"),
        spacing_mm=tuple(facts["spacing_mm"]),
        lost_label_voxels=facts["lost_label_voxels"],
    )


def coarsen_case(case: Case, folder: Path) -> None:
    """Write a copy with half the rows and columns to `folder/patient_id`.

    Images become means of 2 x 2 pixels, labels the middle of the four; where two labels hold two
    pixels each, a checkerboard decides, so that borders keep their place on average.
    """
    images = _fours(case.images).astype(np.float32).mean(axis=-1)
    ordered = np.sort(_fours(case.labels), axis=-1)
    rows, columns = ordered.shape[1:3]
    checkerboard = (np.arange(rows)[:, None] + np.arange(columns)) % 2 == 0
    between_slices, between_rows, between_columns = case.spacing_mm
    coarse = Case(
        patient_id=case.patient_id,
        images=np.rint(images).astype(np.uint8),
        labels=np.where(checkerboard, ordered[..., 1], ordered[..., 2]),
        spacing_mm=(between_slices, 2 * between_rows, 2 * between_columns),
        lost_label_voxels=case.lost_label_voxels,
    )
    _write_case(coarse, folder)


def _write_case(case: Case, folder: Path) -> None:
    target = folder / case.patient_id
    target.mkdir(parents=True, exist_ok=True)
    np.save(target / "images.npy", case.images)
    np.save(target / "labels.npy", case.labels)
    facts = {
        "patient_id": case.patient_id,
        "spacing_mm": case.spacing_mm,
        "lost_label_voxels": case.lost_label_voxels,
    }
    # written last: a folder with this file is complete
    (target / "case.json").write_text(json.dumps(facts))


def _fours(array: ByteVolume) -> ByteVolumeOfFours:
    """Gather every 2 x 2 block of a slice along a last axis."""
    slices, rows, columns = array.shape
    blocks = np.asarray(array).reshape(slices, rows // 2, 2, columns // 2, 2)
    return blocks.swapaxes(2, 3).reshape(slices, rows // 2, columns // 2, 4)
