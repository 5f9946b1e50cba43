"""Seeded splits by patient."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
        parts = {name: tuple(values[name]) for name in ("training", "validation", "test")}
        return cls(**parts, seed=values["seed"])


def split_patients(
    patient_ids: Sequence[str],
    *,
    seed: int,
    proportions: tuple[int, int, int] = PAPER_PROPORTIONS,
) -> Split:
    """Deal patients to the three parts; the order of the ids plays no part.

    Raises:
        ValueError: an id that occurs twice.
    """
    ids = sorted(set(patient_ids))
    if len(ids) != len(patient_ids):
        raise ValueError("a patient id occurs twice")
    order = np.random.default_rng(seed).permutation(len(ids))
    shares = np.cumsum(proportions)[:2] / sum(proportions)
    first, second = (round(len(ids) * share) for share in shares)
    dealt = [ids[i] for i in order]
    return Split(
        training=tuple(dealt[:first]),
        validation=tuple(dealt[first:second]),
        test=tuple(dealt[second:]),
        seed=seed,
    )
