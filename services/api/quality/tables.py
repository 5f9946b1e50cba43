"""Reports as CSV: one row a group and structure, for spreadsheets and statistics programs."""

import csv
import io
from collections.abc import Iterable, Sequence

from ml.grading import Grade
from services.api.quality.service import (
    EDIT_MEASURES,
    SHADOW_MEASURES,
    AcceptabilityGroup,
    AcceptabilityReport,
    DriftGroup,
)
from services.core.repositories.drift import DriftBy, StructureMeans

CSV_MEDIA_TYPE = "text/csv"
MEAN = "mean"
"""Stands where the name of a structure would, in rows of means over structures."""

Cell = str | int | float | None
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def wants_csv(accept: str | None) -> bool:
    """Tell whether an Accept header asks for CSV before it asks for json."""
    types = [part.split(";")[0].strip().lower() for part in (accept or "").split(",")]
    named = [name for name in types if name in (CSV_MEDIA_TYPE, "application/json")]
    return named[:1] == [CSV_MEDIA_TYPE]


def acceptability_csv(report: AcceptabilityReport) -> str:
    """Return the table of grades; the agreement of readers is in the json alone."""
    names = [
        *(key.value for key in report.group_by),
        "structure",
        "graded_slices",
        *(grade.value for grade in Grade),
        *(f"{grade.value}_percent" for grade in Grade),
        "acceptability_percent",
        *("jobs", "reviews", "readers", "median_minutes"),
    ]
    return _csv(names, (row for group in report.groups for row in _rows(group)))


def drift_csv(by: DriftBy, groups: Sequence[DriftGroup]) -> str:
    """Return how groups of jobs fared, by structure."""
    names = [
        by.value,
        "structure",
        *("jobs", "warnings", "jobs_with_warnings"),
        *("graded_slices", "acceptability_percent"),
        "edits",
        *EDIT_MEASURES,
        "shadows",
        *(f"shadow_{measure}" for measure in SHADOW_MEASURES),
    ]
    return _csv(names, (row for group in groups for row in _drift_rows(group)))


def _rows(group: AcceptabilityGroup) -> Iterable[Sequence[Cell]]:
    totals = group.totals
    source = (totals.jobs, totals.reviews, totals.readers, totals.median_minutes)
    for own in group.structures:
        counted = (own.total, *own.counts, *own.percentages, own.acceptability)
        yield (*group.key, own.structure, *counted, *source)
    graded = sum(own.total for own in group.structures)
    means = (*group.mean_percentages, group.mean_acceptability)
    yield (*group.key, MEAN, graded, *(None for _ in Grade), *means, *source)


def _drift_rows(group: DriftGroup) -> Iterable[Sequence[Cell]]:
    jobs = group.jobs
    counted = (jobs.jobs, jobs.warnings, jobs.jobs_with_warnings)
    reviewed = group.acceptability
    grades = {own.structure: own for own in reviewed.structures} if reviewed else {}
    edits = {means.structure: means for means in group.edits}
    shadows = {means.structure: means for means in group.shadows}
    for structure in dict.fromkeys([*grades, *edits, *shadows]):
        own = grades.get(structure)
        shares = (own.total, own.acceptability) if own else (0, None)
        edited = _means(edits.get(structure), len(EDIT_MEASURES))
        shadowed = _means(shadows.get(structure), len(SHADOW_MEASURES))
        yield (group.group, structure, *counted, *shares, *edited, *shadowed)
    graded = sum(own.total for own in grades.values())
    mean = reviewed.mean_acceptability if reviewed else None
    nothing = (None,) * (len(EDIT_MEASURES) + len(SHADOW_MEASURES) + 2)
    yield (group.group, MEAN, *counted, graded, mean, *nothing)


def _means(means: StructureMeans | None, count: int) -> tuple[Cell, ...]:
    return (means.compared, *means.means) if means else (0, *(None for _ in range(count)))


def _csv(names: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([_safe(cell) for cell in row] for row in rows)
    return text.getvalue()


def _safe(cell: Cell) -> Cell:
    """Return a cell that no spreadsheet takes for a formula: readers choose their names."""
    if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS):
        return f"'{cell}"
    return cell
