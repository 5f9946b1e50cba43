"""What a version of a dataset is: facts that tell it from every other, and what it can train."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.data.dataset import CaseFacts, Dataset
from ml.data.splits import PARTS, Split

FORMAT = 1
"""Part of the hash of the content: changes whenever the same content is hashed otherwise."""

LABEL_VALUES = 256
"""Of the labels' type, uint8: one count each, whatever the structure set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownStructure:
    """What a case shows of a structure; nothing has 0 slices and 0 ml."""

    slices: int
    volume_ml: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseLabelFacts:
    """What the labels of a case hold, on the CT's own grid."""

    case_id: str
    patient_id: str
    slices: int
    """Of the CT: as many as the case adds to an epoch."""
    labelled_slices: int
    """Slices that show any structure."""
    structures: dict[str, ShownStructure]
    """Every structure of the set, by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartFacts:
    """How much a part of the split holds."""

    patients: int
    cases: int
    slices: int
    """What an epoch of it has, unless a run asks for another number."""
    labelled_slices: int
    """What is left of them for a run that draws no empty slices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureFacts:
    """How many cases show a structure."""

    cases: int
    """In the whole dataset, patients included that are in no part."""
    parts: dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetVersionFacts:
    """A version of a dataset."""

    content_sha256: str
    """Equal for equal cases, patients, structures and parts, whatever folder and dataset are
    called and in whatever order and by whatever seed the patients were dealt."""
    structure_set: str
    total: PartFacts
    """Of the whole dataset, patients included that are in no part."""
    parts: dict[str, PartFacts]
    """Training, validation and test; all 0 without a split."""
    structures: dict[str, StructureFacts]
    """By name, in the order of the set."""
    lacking: tuple[str, ...]
    """Structures that no training case shows, and so no run can learn; without a split those that
    no case shows."""
    cases: tuple[CaseLabelFacts, ...]
    """In order of their ids."""

    @property
    def training_slices(self) -> int:
        """Slices of an epoch: a larger batch would hold a slice twice."""
        return self.parts["training"].slices

    def to_dict(self) -> dict[str, Any]:  # Any: json
        """Return plain json types; tuples become lists once they are written."""
        return dataclasses.asdict(self)


def describe_version(dataset: Dataset) -> DatasetVersionFacts:
    """Return the facts of a dataset as it is now; the labels of every case are read once."""
    facts = dataset.facts()
    cases = [case_facts(dataset, own.case_id) for own in facts]
    part_of = _part_of(dataset.split)
    by_part = {part: [c for c in cases if part_of.get(c.patient_id) == part] for part in PARTS}
    structures = {
        name: StructureFacts(
            cases=_count_showing(cases, name),
            parts={part: _count_showing(own, name) for part, own in by_part.items()},
        )
        for name in dataset.structures.names
    }
    learnt_from = cases if dataset.split is None else by_part["training"]
    return DatasetVersionFacts(
        content_sha256=_content_sha256(dataset, facts, part_of),
        structure_set=dataset.structures.name,
        total=_part_facts(cases),
        parts={part: _part_facts(own) for part, own in by_part.items()},
        structures=structures,
        lacking=tuple(name for name in structures if not _count_showing(learnt_from, name)),
        cases=tuple(cases),
    )


def case_facts(dataset: Dataset, case_id: str) -> CaseLabelFacts:
    """Return what the labels of a case hold; they are read slice by slice, once.

    Raises:
        DatasetError: there is no such case.
    """
    case = dataset.read_case(case_id)
    counts = np.array([np.bincount(s.ravel(), minlength=LABEL_VALUES) for s in case.labels])
    voxel_ml = case.volume.geometry.voxel_volume_ml
    return CaseLabelFacts(
        case_id=case.case_id,
        patient_id=case.patient_id,
        slices=len(case.labels),
        labelled_slices=int(np.count_nonzero(counts[:, 1:].any(axis=1))),
        structures={
            structure.name: ShownStructure(
                slices=int(np.count_nonzero(counts[:, structure.number])),
                volume_ml=round(float(counts[:, structure.number].sum() * voxel_ml), 3),
            )
            for structure in dataset.structures.structures
        },
    )


def _part_of(split: Split | None) -> dict[str, str]:
    """Return the part of every patient that was dealt."""
    if split is None:
        return {}
    return {patient: part for part in PARTS for patient in getattr(split, part)}


def _part_facts(cases: Sequence[CaseLabelFacts]) -> PartFacts:
    return PartFacts(
        patients=len({case.patient_id for case in cases}),
        cases=len(cases),
        slices=sum(case.slices for case in cases),
        labelled_slices=sum(case.labelled_slices for case in cases),
    )


def _count_showing(cases: Sequence[CaseLabelFacts], structure: str) -> int:
    return sum(case.structures[structure].slices > 0 for case in cases)


def _content_sha256(dataset: Dataset, facts: Sequence[CaseFacts], part_of: dict[str, str]) -> str:
    """Hash cases, structures and split; of a split what it says of the patients that are there."""
    content = {
        "format": FORMAT,
        "structures": [dataset.structures.name, *dataset.structures.names],
        "is_split": dataset.split is not None,
        "cases": [
            [own.case_id, own.sha256, own.patient_id, part_of.get(own.patient_id)]
            for own in sorted(facts, key=lambda own: own.case_id)
        ],
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
