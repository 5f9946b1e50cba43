"""Statistics of every structure, paired tests, and grades of a reader study."""

from collections.abc import Sequence

from ml.evaluation.comparison import PairedComparison, compare_runs
from ml.evaluation.measures import ALL_MEASURES, DSC, HD95, PRESENCE_ERRORS, Measure, select
from ml.evaluation.report.plan import Comparison, ordered_structures, rows_of
from ml.evaluation.report.tables import Table, number, p_value, with_interval
from ml.evaluation.rows import CaseScore
from ml.evaluation.summaries import count_empties, summarize_measure
from ml.grading import (
    Grade,
    StructureGrades,
    mean_acceptability,
    mean_percentages,
)

TESTED = (DSC, HD95, PRESENCE_ERRORS)
"""Measures on which runs are compared with the reference."""


def statistics_table(rows: Sequence[CaseScore], comparison: Comparison) -> Table:
    """Return every measure of every structure, run and part."""
    cells: list[tuple[str, ...]] = []
    for part in comparison.parts:
        for run in comparison.runs:
            own = rows_of(rows, run.label, part)
            for structure in ordered_structures(own):
                found = select(own, structure=structure)
                names = (part, run.title, structure)
                cells += [(*names, *_statistics(found, measure)) for measure in ALL_MEASURES]
    header = ("Part", "Run", "Anatomy", "Measure", "rows", "mean", "SD", "median", "Q1", "Q3")
    header += ("CI low", "CI high", "penalised mean", "both empty", "missed", "hallucinated")
    return Table(
        name=f"{comparison.name}_statistics",
        title=f"{comparison.title}: statistics",
        header=header,
        rows=tuple(cells),
        note="Mean and SD of what is finite; median and quartiles with infinite values.",
    )


def _statistics(rows: Sequence[CaseScore], measure: Measure) -> tuple[str, ...]:
    summary, empties = summarize_measure(rows, measure), count_empties(rows)
    values = (summary.mean, summary.sd, summary.median)
    values += (summary.lower_quartile, summary.upper_quartile)
    values += (summary.interval.low, summary.interval.high, summary.penalised_mean)
    counts = (empties.both_empty, empties.missed, empties.hallucinated)
    return (
        measure.heading,
        str(summary.finite),
        *(number(value, measure.decimals) for value in values),
        *(str(count) for count in counts),
    )


def paired_comparisons(rows: Sequence[CaseScore], comparison: Comparison) -> list[PairedComparison]:
    """Compare every run with the reference, on the first part, by every tested measure."""
    part = comparison.parts[0]
    own = [row for run in comparison.runs for row in rows_of(rows, run.label, part)]
    order = ordered_structures(own)
    own.sort(key=lambda row: order.index(row.structure))
    others = [run.label for run in comparison.others]
    return [
        found
        for measure in TESTED
        for found in compare_runs(own, comparison.reference, others, measure)
    ]


def paired_table(rows: Sequence[CaseScore], comparison: Comparison) -> Table:
    """Return every run against the reference, on the first part, patient by patient."""
    part = comparison.parts[0]
    titles = {run.label: run.title for run in comparison.runs}
    found = paired_comparisons(rows, comparison)
    header = ("Run", "Anatomy", "Measure", "patients", "median difference [95 % CI]")
    return Table(
        name=f"{comparison.name}_paired",
        title=f"{comparison.title}: difference to {titles[comparison.reference]} ({part})",
        header=(*header, "p", "p (Holm)"),
        rows=tuple(_paired_row(pair, titles[pair.run]) for pair in found),
        note="Wilcoxon's signed ranks over patients; Holm over runs and structures of a measure.",
    )


def _paired_row(pair: PairedComparison, title: str) -> tuple[str, ...]:
    interval, decimals = pair.interval, pair.measure.decimals
    return (
        title,
        pair.structure,
        pair.measure.heading,
        str(pair.patients),
        with_interval(pair.median_difference, interval.low, interval.high, decimals),
        p_value(pair.p),
        p_value(pair.p_holm),
    )


def grades_table(grades: Sequence[StructureGrades]) -> Table:
    """Return the paper's Table 2: counts and shares of the four grades of every structure.

    Raises:
        ValueError: there is no structure.
    """
    cells = [
        (
            own.structure,
            *(f"{n} ({p:.2f}%)" for n, p in zip(own.counts, own.percentages, strict=True)),
            f"{own.acceptability:.2f}%",
        )
        for own in grades
    ]
    means = (f"{share:.2f}%" for share in mean_percentages(grades))
    cells.append(("Mean percentage", *means, f"{mean_acceptability(grades):.2f}%"))
    return Table(
        name="grades",
        title="Grades of readers",
        header=("Anatomy", *(grade.title for grade in Grade), "Acceptability"),
        rows=tuple(cells),
        note="Slices and their share; acceptability: at most a minor revision.",
    )
