"""One patient's slices on the network's grid, cached as memory-mapped arrays."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.arrays import ByteVolume, LabelVolume
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
    target = folder / patient_id
    target.mkdir(parents=True, exist_ok=True)
    np.save(target / "images.npy", np.rint((hu - low) / (high - low) * IMAGE_LEVELS).astype("u1"))
    np.save(target / "labels.npy", crop.labels(turned_labels))
    facts = {
        "patient_id": patient_id,
        "spacing_mm": [crop.geometry.slice_spacing_mm, *(2 * [config.pixel_spacing_mm])],
        "lost_label_voxels": int(np.count_nonzero(labels) - np.count_nonzero(covered)),
    }
    # written last: a folder with this file is complete
    (target / "case.json").write_text(json.dumps(facts))


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
