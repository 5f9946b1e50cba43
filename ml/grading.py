"""Arithmetic of a reader study: four grades per structure as in the paper, and agreement."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """What a reader says of a structure in a slice, best first; values never change."""

    ACCEPTABLE = "acceptable"
    MINOR_REVISION = "minor_revision"
    MAJOR_REVISION = "major_revision"
    UNACCEPTABLE = "unacceptable"

    @property
    # no grade is ever put into title case
    def title(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The grade as the paper's Table 2 prints it."""
        return _TITLES[self]


_TITLES = {
    Grade.ACCEPTABLE: "Acceptable",
    Grade.MINOR_REVISION: "Minor revision",
    Grade.MAJOR_REVISION: "Major revision",
    Grade.UNACCEPTABLE: "Not acceptable",
}


ACCEPTED = (Grade.ACCEPTABLE, Grade.MINOR_REVISION)
"""Grades that the paper counts towards acceptability."""


class KappaWeights(StrEnum):
    """How much a disagreement counts by the number of grades it spans."""

    LINEAR = "linear"
    """As many times as it spans grades."""
    QUADRATIC = "quadratic"
    """By the square of it: kappa is then an intraclass correlation of the grades' places."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureGrades:
    """How often every grade was given to a structure.

    Raises:
        ValueError: a negative count, a count missing, or none above 0.
    """

    structure: str
    counts: tuple[int, int, int, int]
    """In the order of Grade."""

    def __post_init__(self) -> None:
        """Check the counts."""
        if len(self.counts) != len(Grade) or min(self.counts) < 0 or not sum(self.counts):
            raise ValueError(
                f"{self.structure}: {self.counts} are no counts of {len(Grade)} grades"
            )

    @property
    def total(self) -> int:
        """Graded slices."""
        return sum(self.counts)

    @property
    def percentages(self) -> tuple[float, ...]:
        """Share of every grade in percent."""
        return tuple(100 * count / self.total for count in self.counts)

    @property
    def acceptability(self) -> float:
        """Percentage that needs at most a minor revision."""
        accepted = zip(Grade, self.counts, strict=True)
        return 100 * sum(count for grade, count in accepted if grade in ACCEPTED) / self.total


def count_grades(structure: str, grades: Sequence[Grade]) -> StructureGrades:
    """Count the grades given to a structure.

    Raises:
        ValueError: there is none.
    """
    first, second, third, fourth = (sum(given is grade for given in grades) for grade in Grade)
    return StructureGrades(structure=structure, counts=(first, second, third, fourth))


def mean_percentages(grades: Sequence[StructureGrades]) -> tuple[float, ...]:
    """Return the mean share of every grade over structures: the last row of Table 2.

    Raises:
        ValueError: there is no structure.
    """
    if not grades:
        raise ValueError("no structure was graded")
    columns = zip(*(own.percentages for own in grades), strict=True)
    return tuple(sum(column) / len(grades) for column in columns)


def mean_acceptability(grades: Sequence[StructureGrades]) -> float:
    """Return the mean acceptability over structures in percent.

    Raises:
        ValueError: there is no structure.
    """
    if not grades:
        raise ValueError("no structure was graded")
    return sum(own.acceptability for own in grades) / len(grades)


def weighted_kappa(
    pairs: Sequence[tuple[Grade, Grade]], weights: KappaWeights = KappaWeights.QUADRATIC
) -> float:
    """Return how far two readers agree beyond chance: 1 wholly, 0 by chance, less below it.

    Not a number where it is undefined: without a pair, and where chance leaves nothing to
    disagree about because both readers gave one and the same grade throughout.

    Args:
        pairs: what the first and the second reader said of the same thing.
        weights: what a disagreement counts.

    Reference: Cohen, Weighted kappa, Psychological Bulletin 1968;70:213-220.
    """
    return weighted_kappa_of_counts(Counter(pairs), weights)


def weighted_kappa_of_counts(
    counts: Mapping[tuple[Grade, Grade], int], weights: KappaWeights = KappaWeights.QUADRATIC
) -> float:
    """Return weighted_kappa of pairs that were counted before.

    Args:
        counts: how often the first and the second reader said this of the same thing.
        weights: what a disagreement counts.
    """
    firsts: Counter[Grade] = Counter()
    seconds: Counter[Grade] = Counter()
    observed = 0
    for (first, second), count in counts.items():
        firsts[first] += count
        seconds[second] += count
        observed += count * _disagreement(first, second, weights)
    # as a multiple of the number of pairs: whole numbers until the one division
    expected = sum(
        firsts[first] * seconds[second] * _disagreement(first, second, weights)
        for first in Grade
        for second in Grade
    )
    return 1 - firsts.total() * observed / expected if expected else math.nan


def _disagreement(first: Grade, second: Grade, weights: KappaWeights) -> int:
    apart = abs(_PLACES[first] - _PLACES[second])
    return apart if weights is KappaWeights.LINEAR else apart**2


_PLACES = {grade: place for place, grade in enumerate(Grade)}
