"""The cases of a run."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ml.data.cases import Case
from ml.structures import StructureSet


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """The cases of a run, cached with the run's own preprocessing."""

    training: Sequence[Case]
    validation: Sequence[Case]
    structures: StructureSet
    facts: dict[str, Any] = field(default_factory=dict)  # Any: json
    """What else the run card shall say of the data, such as the dataset's name and split."""

    def __post_init__(self) -> None:
        """Refuse a run without cases to train on or to validate with."""
        if not self.training or not self.validation:
            raise ValueError("training and validation need at least one case each")

    def manifest(self) -> dict[str, list[tuple[str, str]]]:
        """List id and sha256 of the cases of both parts, by id."""
        return {
            part: sorted((case.case_id, case.source_sha256) for case in cases)
            for part, cases in (("training", self.training), ("validation", self.validation))
        }

    def sha256(self) -> str:
        """Hash the manifest: equal for equal cases in equal parts."""
        return hashlib.sha256(repr(self.manifest()).encode()).hexdigest()
