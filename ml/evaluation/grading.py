"""Arithmetic of a reader study: four grades per structure, as in the paper's Table 2."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """What a reader says of a structure in a slice."""

    ACCEPTABLE = "acceptable"
    MINOR_REVISION = "minor revision"
    MAJOR_REVISION = "major revision"
    NOT_ACCEPTABLE = "not acceptable"


ACCEPTED = (Grade.ACCEPTABLE, Grade.MINOR_REVISION)
"""Grades that the paper counts towards acceptability."""


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
