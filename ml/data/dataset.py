"""Cases with their truth on disk, each on its CT's own grid: what training and evaluation read.

dataset/
dataset.json             name, structure set, split
cases/<case id>/
case.json              patient, geometry, where it came from, sha256 of the arrays
hu.npy  labels.npy     int16 and uint8, slice row column, in the CT's own order
"""

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ml.arrays import LabelVolume
from ml.data.splits import Split
from ml.geometry import Volume, VolumeGeometry
from ml.structures import StructureSet, structure_set
from ml.whole_files import write_whole

FORMAT = 1
DATASET_FILE = "dataset.json"
CASE_FILE = "case.json"
CASES_FOLDER = "cases"


class DatasetError(Exception):
    """A folder is no dataset, or a dataset does not hold what is asked of it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelledCase:
    """One CT with its truth."""

    case_id: str
    """Unique in a dataset, and a legal folder name."""
    patient_id: str
    """Equal for all cases of a patient: splits go by it."""
    volume: Volume
    labels: LabelVolume
    """Structure numbers on the volume's grid; 0 is background."""
    source: dict[str, Any] = field(default_factory=dict)  # Any: json facts
    """Where the case came from, without identifiers of a patient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseFacts:
    """What is known of a case without reading its arrays."""

    case_id: str
    patient_id: str
    shape: tuple[int, int, int]
    sha256: str
    """Of HU, labels and geometry: equal for equal cases, whatever they are called."""
    source: dict[str, Any]  # Any: json facts


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """An opened dataset."""

    folder: Path
    name: str
    structures: StructureSet
    split: Split | None
    """Patients of each part, once they are dealt."""

    def facts(self) -> list[CaseFacts]:
        """List the cases by their ids."""
        # what is still being written has a name with a dot, and perhaps its case.json already
        folders = sorted((self.folder / CASES_FOLDER).glob("[!.]*"))
        return [_read_facts(folder) for folder in folders if (folder / CASE_FILE).exists()]

    def read_case(self, case_id: str) -> LabelledCase:
        """Open a case; its arrays stay on disk until they are used.

        Raises:
            DatasetError: there is no such case.
        """
        folder = self.folder / CASES_FOLDER / case_id
        if not (folder / CASE_FILE).exists():
            raise DatasetError(f"{self.name} has no case {case_id}")
        values = json.loads((folder / CASE_FILE).read_text())
        hu = np.load(folder / "hu.npy", mmap_mode="r")
        return LabelledCase(
            case_id=values["case_id"],
            patient_id=values["patient_id"],
            volume=Volume(hu=hu, geometry=_geometry(values["geometry"])),
            labels=np.load(folder / "labels.npy", mmap_mode="r"),
            source=values["source"],
        )

    def read_cases(self, case_ids: Sequence[str]) -> Iterator[LabelledCase]:
        """Open cases one after the other."""
        return (self.read_case(case_id) for case_id in case_ids)

    def case_ids(self, patients: Sequence[str]) -> list[str]:
        """List the cases of patients."""
        wanted = set(patients)
        return [facts.case_id for facts in self.facts() if facts.patient_id in wanted]

    def with_split(self, split: Split) -> "Dataset":
        """Store a split and return the dataset with it."""
        return create_dataset(self.folder, self.name, self.structures.name, split)


def create_dataset(
    folder: Path, name: str, structure_set_name: str = "cervix", split: Split | None = None
) -> Dataset:
    """Make a dataset's folder, or change the facts of the one that is there."""
    (folder / CASES_FOLDER).mkdir(parents=True, exist_ok=True)
    parts = None if split is None else split.to_dict()
    facts = {"format": FORMAT, "name": name, "structure_set": structure_set_name, "split": parts}
    write_whole(folder / DATASET_FILE, json.dumps(facts, indent=1) + "\n")
    return open_dataset(folder)


def open_dataset(folder: Path) -> Dataset:
    """Open a dataset.

    Raises:
        DatasetError: the folder holds none.
    """
    path = folder / DATASET_FILE
    if not path.exists():
        raise DatasetError(f"{folder} holds no {DATASET_FILE}")
    values = json.loads(path.read_text())
    if values.get("format") != FORMAT:
        raise DatasetError(f"{path} has format {values.get('format')}, not {FORMAT}")
    return Dataset(
        folder=folder,
        name=values["name"],
        structures=structure_set(values["structure_set"]),
        split=None if values["split"] is None else Split.from_dict(values["split"]),
    )


def write_case(dataset: Dataset, case: LabelledCase) -> CaseFacts:
    """Add a case, or replace the one of its id; a reader never sees half of it.

    Files are made anew and never written into: a dataset that shares files with this one by hard
    links stays as it is.
    """
    target = dataset.folder / CASES_FOLDER / case.case_id
    unfinished = target.with_name(f".{case.case_id}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    np.save(unfinished / "hu.npy", np.ascontiguousarray(case.volume.hu))
    np.save(unfinished / "labels.npy", np.ascontiguousarray(case.labels))
    facts = {
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        "shape": case.labels.shape,
        "geometry": _geometry_dict(case.volume.geometry),
        "sha256": case_sha256(case),
        "source": case.source,
    }
    (unfinished / CASE_FILE).write_text(json.dumps(facts, indent=1) + "\n")
    if target.exists():
        _remove_whole(target)
    unfinished.rename(target)
    return _read_facts(target)


def remove_case(dataset: Dataset, case_id: str) -> None:
    """Take a case out; a reader never sees half of it.

    Raises:
        DatasetError: there is no such case.
    """
    folder = dataset.folder / CASES_FOLDER / case_id
    if not (folder / CASE_FILE).exists():
        raise DatasetError(f"{dataset.name} has no case {case_id}")
    _remove_whole(folder)


def forget_cases(dataset: Dataset, keep: Collection[str]) -> list[str]:
    """Take out every case but those to keep, and return the ids of what was taken out."""
    forgotten = [facts.case_id for facts in dataset.facts() if facts.case_id not in keep]
    for case_id in forgotten:
        remove_case(dataset, case_id)
    return forgotten


def discard_unfinished_cases(dataset: Dataset) -> None:
    """Remove what a process left that was stopped while it wrote or removed a case."""
    for unfinished in (dataset.folder / CASES_FOLDER).glob(".*.part"):
        shutil.rmtree(unfinished)


def case_sha256(case: LabelledCase) -> str:
    """Hash what a case is: HU, labels and geometry."""
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(case.volume.hu).data)
    digest.update(np.ascontiguousarray(case.labels).data)
    digest.update(json.dumps(_geometry_dict(case.volume.geometry)).encode())
    return digest.hexdigest()


def _remove_whole(folder: Path) -> None:
    """Remove a case's folder under a name that is no case's: half of it is never one."""
    removed = folder.with_name(f".{folder.name}.old.part")
    shutil.rmtree(removed, ignore_errors=True)
    folder.rename(removed)
    shutil.rmtree(removed)


def _read_facts(folder: Path) -> CaseFacts:
    values = json.loads((folder / CASE_FILE).read_text())
    return CaseFacts(
        case_id=values["case_id"],
        patient_id=values["patient_id"],
        shape=tuple(values["shape"]),
        sha256=values["sha256"],
        source=values["source"],
    )


def _geometry_dict(geometry: VolumeGeometry) -> dict[str, Any]:  # Any: json
    return {
        "rows": geometry.rows,
        "columns": geometry.columns,
        "pixel_spacing_mm": [float(v) for v in geometry.pixel_spacing_mm],
        "row_direction": geometry.row_direction.tolist(),
        "column_direction": geometry.column_direction.tolist(),
        "slice_positions_mm": geometry.slice_positions_mm.tolist(),
    }


def _geometry(values: dict[str, Any]) -> VolumeGeometry:  # Any: json
    return VolumeGeometry(
        rows=values["rows"],
        columns=values["columns"],
        pixel_spacing_mm=tuple(values["pixel_spacing_mm"]),
        row_direction=np.array(values["row_direction"]),
        column_direction=np.array(values["column_direction"]),
        slice_positions_mm=np.array(values["slice_positions_mm"]),
    )
