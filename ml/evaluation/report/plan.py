"""What a report compares: which runs, in which order, under which titles."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ml.evaluation.measures import select, structures_of
from ml.evaluation.rows import CaseScore

PAPER_ORDER = ("Bladder", "Rectum", "CTV-N", "CTV-UV")
"""Structures as Table 1 lists them; others follow in the order of the rows."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class ReportError(ValueError):
    """The rows do not hold what the plan asks for, or the plan contradicts itself."""


class ComparisonKind(StrEnum):
    """Which figure shows a comparison."""

    NETWORKS = "networks"
    """As Figure 5: structures and their mean, side by side for every run."""
    LOSSES = "losses"
    """As Figure 7: mDSC and mHD of every run."""
    ABLATION = "ablation"
    """Overlap, distance and presence errors of every run on every part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedRun:
    """A run of the rows and what it is called in print."""

    label: str
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Runs that are laid side by side, of one experiment or of several.

    Raises:
        ReportError: no run or part, a label twice, a reference that is no run, or a name that no
            file can have.
    """

    name: str
    """Start of its files' names: letters, digits, _ and -."""
    title: str
    kind: ComparisonKind
    runs: tuple[ReportedRun, ...]
    reference: str
    """Label of the run the others are tested against."""
    parts: tuple[str, ...] = ("test",)
    """The first is the one tables of a single part show."""

    def __post_init__(self) -> None:
        """Check that runs and reference belong together."""
        labels = [run.label for run in self.runs]
        if not labels or not self.parts or len(set(labels)) != len(labels):
            raise ReportError(f"{self.name}: needs parts, and runs that differ")
        if not _NAME.fullmatch(self.name):
            raise ReportError(f"{self.name!r} cannot start the name of a file")
        if self.reference not in labels:
            raise ReportError(f"{self.name}: {self.reference!r} is none of its runs")

    @property
    def others(self) -> tuple[ReportedRun, ...]:
        """Runs that are compared with the reference."""
        return tuple(run for run in self.runs if run.label != self.reference)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportPlan:
    """A report: its comparisons in order.

    Raises:
        ReportError: two comparisons have one name.
    """

    title: str
    comparisons: tuple[Comparison, ...]

    def __post_init__(self) -> None:
        """Check that no comparison would replace another's files."""
        names = [comparison.name for comparison in self.comparisons]
        if len(set(names)) != len(names):
            raise ReportError(f"{self.title}: comparisons need names that differ")


def rows_of(rows: Sequence[CaseScore], run: str, part: str) -> list[CaseScore]:
    """Return the rows of a run and part.

    Raises:
        ReportError: there is none.
    """
    found = select(rows, run=run, part=part)
    if not found:
        raise ReportError(f"no row of run {run!r} on part {part!r}")
    return found


def ordered_structures(rows: Sequence[CaseScore]) -> list[str]:
    """Return the structures of rows, the paper's first and in its order."""
    found = structures_of(rows)
    known = [name for name in PAPER_ORDER if name in found]
    return known + [name for name in found if name not in PAPER_ORDER]
