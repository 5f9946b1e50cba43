"""Seeded splits by patient."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PARTS = ("training", "validation", "test")
"""What a split consists of, in this order."""

PAPER_PROPORTIONS = (111, 30, 15)
"""Training, validation and test patients of the paper."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Patients of each part; no patient is in two."""

    training: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    seed: int

    def to_dict(self) -> dict[str, Any]:  # Any: json
        """Return plain json types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Split":  # Any: json
        """Rebuild a split from to_dict or from its json."""
        parts = {name: tuple(values[name]) for name in PARTS}
        return cls(**parts, seed=values["seed"])


def split_patients(
    patient_ids: Sequence[str],
    *,
    seed: int,
    proportions: tuple[int, int, int] = PAPER_PROPORTIONS,
) -> Split:
    """Deal patients to the three parts; the order of the ids plays no part.

    Raises:
        ValueError: an id that occurs twice, or proportions that are negative or all 0.
    """
    _check_proportions(proportions)
    dealt = _shuffled(_unique(patient_ids), seed)
    shares = np.cumsum(proportions)[:2] / sum(proportions)
    first, second = (round(len(dealt) * share) for share in shares)
    return Split(
        training=tuple(dealt[:first]),
        validation=tuple(dealt[first:second]),
        test=tuple(dealt[second:]),
        seed=seed,
    )


def extend_split(
    previous: Split,
    patient_ids: Sequence[str],
    *,
    seed: int,
    proportions: tuple[int, int, int] = PAPER_PROPORTIONS,
) -> Split:
    """Deal the patients a split does not know; those it knows stay in their part.

    Patients that are gone are left out. The parts come as near to the proportions as the kept
    patients allow (least squares of patients); the order of the ids plays no part.

    Raises:
        ValueError: an id that occurs twice, or proportions that are negative or all 0.
    """
    _check_proportions(proportions)
    present = _unique(patient_ids)
    parts = (previous.training, previous.validation, previous.test)
    kept = [[patient for patient in part if patient in present] for part in parts]
    known = {patient for part in kept for patient in part}
    for patient in _shuffled(present - known, seed):
        counts = [len(part) for part in kept]
        kept[_neediest(counts, len(present), proportions)].append(patient)
    training, validation, test = (tuple(part) for part in kept)
    return Split(training=training, validation=validation, test=test, seed=seed)


def _check_proportions(proportions: tuple[int, int, int]) -> None:
    if min(proportions) < 0 or not any(proportions):
        raise ValueError(f"proportions must not be negative, nor all 0: {proportions}")


def _unique(patient_ids: Sequence[str]) -> set[str]:
    ids = set(patient_ids)
    if len(ids) != len(patient_ids):
        raise ValueError("a patient id occurs twice")
    return ids


def _shuffled(ids: set[str], seed: int) -> list[str]:
    in_order = sorted(ids)
    return [in_order[i] for i in np.random.default_rng(seed).permutation(len(in_order))]


def _neediest(counts: Sequence[int], total: int, proportions: tuple[int, int, int]) -> int:
    """Return the part that lacks most patients of its share; of equal ones the first."""
    # in units of 1 / sum(proportions) patients: whole numbers, so that ties are ties
    lacks = [
        total * share - count * sum(proportions)
        for count, share in zip(counts, proportions, strict=True)
    ]
    return lacks.index(max(lacks))
