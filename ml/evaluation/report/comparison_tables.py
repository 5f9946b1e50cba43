"""The paper's Table 1 for any runs, overall means, and runs on several parts of the data."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ml.evaluation.bootstrap import mean_interval
from ml.evaluation.measures import (
    DSC,
    HD95,
    PRESENCE_ERRORS,
    SLICE_DSC,
    SLICE_HD95,
    Measure,
    mean_of_finite,
    mean_over_structures,
    select,
)
from ml.evaluation.report.plan import Comparison, ReportedRun, ordered_structures, rows_of
from ml.evaluation.report.tables import Table, number, with_interval, with_spread
from ml.evaluation.rows import CaseScore
from ml.evaluation.summaries import RunMeans, over_seeds, run_means

BEST_OF_STRUCTURE = "#"
BEST_OVERALL = "*"
_NOTE = (
    "Means over cases; with several seeds mean ± SD over seeds. Distances are means of what is"
    " finite, with the number of infinite ones (structure missed or invented) beside them."
    f" {BEST_OF_STRUCTURE} best of the structure, {BEST_OVERALL} best overall; an infinite"
    " distance counts as the image's diagonal there."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cell:
    text: str
    rank: float
    """Smaller is better, equal where the same is printed; nan takes no part."""


def table_1(rows: Sequence[CaseScore], comparison: Comparison) -> Table:
    """Return methods x structures with DSC, 95HD, mDSC and mHD, in 3-D, best values marked."""
    return _methods_by_structures(rows, comparison, DSC, HD95)


def table_1_slicewise(rows: Sequence[CaseScore], comparison: Comparison) -> Table:
    """Return the same of two-dimensional measures, which the paper's numbers resemble."""
    return _methods_by_structures(rows, comparison, SLICE_DSC, SLICE_HD95)


def _methods_by_structures(
    rows: Sequence[CaseScore], comparison: Comparison, overlap: Measure, distance: Measure
) -> Table:
    own = [rows_of(rows, run.label, comparison.parts[0]) for run in comparison.runs]
    structures = ordered_structures([row for found in own for row in found])
    columns: list[list[_Cell]] = []
    for measure in (overlap, distance):
        of_structures = [[_cell(select(f, structure=s), measure) for s in structures] for f in own]
        marked = [
            _marked(list(cells), BEST_OF_STRUCTURE) for cells in zip(*of_structures, strict=True)
        ]
        columns.append([cells[i] for i in range(len(own)) for cells in marked])
    for measure in (overlap, distance):
        overall = _marked([_cell(found, measure) for found in own], BEST_OVERALL)
        empty = [_Cell(text="", rank=math.nan)] * (len(structures) - 1)
        columns.append([cell for mean in overall for cell in (mean, *empty)])
    methods = [(run.title, name) for run in comparison.runs for name in structures]
    suffix = "table_2d" if overlap is SLICE_DSC else "table"
    return Table(
        name=f"{comparison.name}_{suffix}",
        title=f"{comparison.title}: {overlap.title}, {distance.heading} ({comparison.parts[0]})",
        header=("Methods", "Anatomy", *_headings(overlap, distance)),
        rows=tuple(
            (*names, *(cell.text for cell in cells))
            for names, cells in zip(methods, zip(*columns, strict=True), strict=True)
        ),
        note=_NOTE,
    )


def _headings(overlap: Measure, distance: Measure) -> tuple[str, ...]:
    return overlap.title, distance.heading, f"m{DSC.title}", "mHD (mm)"


def _cell(rows: Sequence[CaseScore], measure: Measure) -> _Cell:
    """Return a mean over structures (of one, its own mean) with the spread over seeds."""
    spread = over_seeds(rows, lambda own: mean_over_structures(own, measure))
    text = with_spread(spread.mean, spread.sd, measure.decimals)
    infinite = sum(math.isinf(measure.value(row)) for row in rows)
    if infinite:
        text += f" ({infinite} inf)"
    rank = round(mean_over_structures(rows, measure, penalised=True), measure.decimals)
    return _Cell(text=text, rank=-rank if measure.larger_is_better else rank)


def _marked(cells: Sequence[_Cell], mark: str) -> list[_Cell]:
    """Mark the best of several cells; equals share the mark, and a single one has none."""
    best = min((cell.rank for cell in cells if not math.isnan(cell.rank)), default=math.nan)
    if len(cells) < 2:
        return list(cells)
    return [
        _Cell(text=cell.text + mark, rank=cell.rank) if cell.rank == best else cell
        for cell in cells
    ]


def means_table(rows: Sequence[CaseScore], comparison: Comparison) -> Table:
    """Return the overall numbers of every run under the names that say how they are formed."""
    part = comparison.parts[0]
    header = ("Run", "seeds", "mdsc_fg [95 % CI]", "mdsc_5", "mdsc_slicewise_bothempty1")
    header += ("mHD (mm) [95 % CI]", "mHD penalised (mm)", "presence errors (slices per case)")
    return Table(
        name=f"{comparison.name}_means",
        title=f"{comparison.title}: overall ({part})",
        header=header,
        rows=tuple(_means_row(run, rows_of(rows, run.label, part)) for run in comparison.runs),
        note="Intervals by resampling patients; mdsc_5 counts the background of the whole CT.",
    )


def _means_row(run: ReportedRun, rows: Sequence[CaseScore]) -> tuple[str, ...]:
    means = run_means(rows)
    dsc, hd = mean_interval(rows, DSC), mean_interval(rows, HD95)
    return (
        run.title,
        str(len({row.seed for row in rows})),
        with_interval(means.mdsc_fg, dsc.low, dsc.high, DSC.decimals),
        _seed_cell(rows, lambda found: found.mdsc_5),
        _seed_cell(rows, lambda found: found.mdsc_slicewise_bothempty1),
        with_interval(means.mhd_mm, hd.low, hd.high, HD95.decimals),
        _seed_cell(rows, lambda found: found.mhd_penalised_mm),
        number(presence_errors_per_case(rows), PRESENCE_ERRORS.decimals),
    )


def _seed_cell(rows: Sequence[CaseScore], pick: Callable[[RunMeans], float]) -> str:
    spread = over_seeds(rows, lambda own: pick(run_means(own)))
    return with_spread(spread.mean, spread.sd, 3)


def presence_errors_per_case(rows: Sequence[CaseScore]) -> float:
    """Return the mean number of slices with a presence error, summed over structures."""
    by_case: dict[tuple[str, int], int] = {}
    for row in rows:
        key = row.case, row.seed
        by_case[key] = by_case.get(key, 0) + row.presence_error_slices
    return mean_of_finite([float(count) for count in by_case.values()])


def parts_table(rows: Sequence[CaseScore], comparison: Comparison) -> Table:
    """Return runs x parts with mean DSC, 95HD and presence errors: the ablation."""
    cells: list[tuple[str, ...]] = []
    for part in comparison.parts:
        own = [rows_of(rows, run.label, part) for run in comparison.runs]
        columns = [_marked([_cell(f, m) for f in own], BEST_OVERALL) for m in (DSC, HD95)]
        columns.append(_marked([_presence_cell(found) for found in own], BEST_OVERALL))
        for index, run in enumerate(comparison.runs):
            cases = len({row.case for row in own[index]})
            values = (column[index].text for column in columns)
            cells.append((part, run.title, str(cases), *values))
    return Table(
        name=f"{comparison.name}_parts",
        title=f"{comparison.title}: every part",
        header=("Part", "Run", "cases", "mDSC", "mHD (mm)", "presence errors (slices per case)"),
        rows=tuple(cells),
        note=_NOTE,
    )


def _presence_cell(rows: Sequence[CaseScore]) -> _Cell:
    spread = over_seeds(rows, presence_errors_per_case)
    text = with_spread(spread.mean, spread.sd, PRESENCE_ERRORS.decimals)
    return _Cell(text=text, rank=round(spread.mean, PRESENCE_ERRORS.decimals))
