"""How contours fare: what readers say of them, how far they agree, and how that changes."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ml.grading import (
    Grade,
    KappaWeights,
    StructureGrades,
    mean_acceptability,
    mean_percentages,
    weighted_kappa_of_counts,
)
from ml.structures import CERVIX
from services.core.repositories.acceptability import (
    AgreementCell,
    GradeCount,
    GroupKey,
    GroupTotals,
    Key,
    ReviewFilter,
)
from services.core.repositories.drift import DriftBy, JobTotals, StructureMeans
from services.core.unit_of_work import UnitOfWork

EDIT_MEASURES = ("dice", "added_path_length_mm", "relative_added_path")
SHADOW_MEASURES = ("dice",)


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptabilityGroup:
    """A table as the paper's second: grades by structure, and the mean over structures."""

    key: Key
    structures: tuple[StructureGrades, ...]
    totals: GroupTotals

    @property
    def mean_percentages(self) -> tuple[float, ...]:
        """Of the structures' percentages, each structure counting alike."""
        return mean_percentages(self.structures)

    @property
    def mean_acceptability(self) -> float:
        """Of the structures' percentages, each structure counting alike."""
        return mean_acceptability(self.structures)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderPair:
    """How far two readers agree on the slices that both graded."""

    readers: tuple[str, str]
    slices: int
    exact_agreement: float
    """Share of equal grades."""
    linear_kappa: float
    quadratic_kappa: float
    """Not a number where chance leaves nothing to disagree about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How far readers agree on a structure, or on all of them taken together."""

    structure: str | None
    pairs: tuple[ReaderPair, ...]

    @property
    def mean_linear_kappa(self) -> float:
        """Over the pairs for which it is a number; not a number without any."""
        return _mean([pair.linear_kappa for pair in self.pairs])

    @property
    def mean_quadratic_kappa(self) -> float:
        """Over the pairs for which it is a number; not a number without any."""
        return _mean([pair.quadratic_kappa for pair in self.pairs])


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptabilityReport:
    """What readers said of contours."""

    group_by: tuple[GroupKey, ...]
    groups: tuple[AcceptabilityGroup, ...]
    agreement: tuple[Agreement, ...]
    """By structure, then of all together; empty where no slice has two readers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftGroup:
    """How the jobs of one month, or of one model version, fared."""

    group: str | None
    jobs: JobTotals
    acceptability: AcceptabilityGroup | None
    """None where none of them was reviewed."""
    edits: tuple[StructureMeans, ...]
    """Means of EDIT_MEASURES."""
    shadows: tuple[StructureMeans, ...]
    """Means of SHADOW_MEASURES."""


class QualityService:
    """Reports on contours, counted by the database."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork]) -> None:
        self._new_unit_of_work = new_unit_of_work

    def acceptability(
        self, wanted: ReviewFilter, group_by: Sequence[GroupKey]
    ) -> AcceptabilityReport:
        """Count the grades of the reviews that count, by group and structure."""
        with self._new_unit_of_work() as uow:
            groups = _groups(uow, wanted, group_by)
            cells = uow.acceptability.agreement(wanted)
        return AcceptabilityReport(
            group_by=tuple(group_by), groups=groups, agreement=_agreement(cells)
        )

    def drift(self, by: DriftBy) -> list[DriftGroup]:
        """Return how jobs fared, in order of time or name."""
        key = GroupKey.JOB_MONTH if by is DriftBy.MONTH else GroupKey.MODEL_VERSION
        with self._new_unit_of_work() as uow:
            jobs = uow.drift.jobs(by)
            reviewed = {group.key[0]: group for group in _groups(uow, ReviewFilter(), [key])}
            edits = uow.drift.edits(by, CERVIX.names, EDIT_MEASURES)
            shadows = uow.drift.shadows(by, CERVIX.names, SHADOW_MEASURES)
        return [
            DriftGroup(
                group=group,
                jobs=totals,
                acceptability=reviewed.get(group),
                edits=tuple(means for means in edits if means.group == group),
                shadows=tuple(means for means in shadows if means.group == group),
            )
            for group, totals in jobs.items()
        ]


def _groups(
    uow: UnitOfWork, wanted: ReviewFilter, group_by: Sequence[GroupKey]
) -> tuple[AcceptabilityGroup, ...]:
    counts = uow.acceptability.count_grades(wanted, group_by)
    totals = uow.acceptability.totals(wanted, group_by)
    return tuple(
        AcceptabilityGroup(key=key, structures=_in_order(own), totals=totals[key])
        for key, own in groupby(counts, lambda count: count.key)
    )


def _in_order(counts: Iterable[GradeCount]) -> tuple[StructureGrades, ...]:
    """Return grades by structure: those of the structure set in its order, others behind."""
    grades = [StructureGrades(structure=c.structure, counts=c.counts) for c in counts]
    return tuple(sorted(grades, key=lambda own: _place(own.structure)))


def _place(structure: str) -> int:
    return CERVIX.names.index(structure) if structure in CERVIX.names else len(CERVIX.names)


def _agreement(cells: Sequence[AgreementCell]) -> tuple[Agreement, ...]:
    if not cells:
        return ()
    by_structure: dict[str, list[AgreementCell]] = {}
    for cell in cells:
        by_structure.setdefault(cell.structure, []).append(cell)
    named = sorted(by_structure.items(), key=lambda item: _place(item[0]))
    return tuple(
        Agreement(structure=structure, pairs=_pairs(own))
        for structure, own in [*named, (None, cells)]
    )


def _pairs(cells: Sequence[AgreementCell]) -> tuple[ReaderPair, ...]:
    tables: dict[tuple[str, str], dict[tuple[Grade, Grade], int]] = {}
    for cell in cells:
        table = tables.setdefault(cell.readers, {})
        grades = (Grade(cell.grades[0]), Grade(cell.grades[1]))
        table[grades] = table.get(grades, 0) + cell.slices
    return tuple(_pair(readers, table) for readers, table in sorted(tables.items()))


def _pair(readers: tuple[str, str], table: Mapping[tuple[Grade, Grade], int]) -> ReaderPair:
    slices = sum(table.values())
    equal = sum(count for (first, second), count in table.items() if first is second)
    return ReaderPair(
        readers=readers,
        slices=slices,
        exact_agreement=equal / slices,
        linear_kappa=weighted_kappa_of_counts(table, KappaWeights.LINEAR),
        quadratic_kappa=weighted_kappa_of_counts(table, KappaWeights.QUADRATIC),
    )


def _mean(values: Sequence[float]) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan
