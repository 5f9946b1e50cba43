"""Runs against a reference run over the same patients: Wilcoxon's signed ranks with Holm."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

from ml.evaluation.bootstrap import NO_INTERVAL, Interval, draw_indices, interval_of
from ml.evaluation.measures import Measure, select, structures_of
from ml.evaluation.rows import CaseScore

ALL_STRUCTURES = "mean"
"""Stands in a structure's place for a patient's mean over structures."""
MIN_PATIENTS = 6
"""With fewer the smallest possible two-sided p (2 / 2^n) is above 0.05, so no test is made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedComparison:
    """One run against the reference, for one structure and measure."""

    run: str
    reference: str
    structure: str
    """Or ALL_STRUCTURES."""
    measure: Measure
    patients: int
    """That have a value in both runs."""
    median_difference: float
    """Of the patients' differences, run minus reference."""
    interval: Interval
    """Of the median difference, by resampling patients."""
    p: float
    """Two-sided; nan without enough patients."""
    p_holm: float
    """Adjusted for all comparisons made in one call."""


def compare_runs(
    rows: Sequence[CaseScore], reference: str, runs: Iterable[str], measure: Measure
) -> list[PairedComparison]:
    """Compare runs with a reference, per structure and over all, patient by patient.

    A patient's value is the mean over its rows (cases, seeds), with the image's diagonal for an
    infinite distance, so a structure that was missed counts.

    Args:
        rows: of one part.
        reference: the run the others are compared with.
        runs: the others.
        measure: what is compared.
    """
    structures = structures_of(rows)
    values = {run: _by_patient(select(rows, run=run), measure) for run in (reference, *runs)}
    pairs = [(run, name) for run in runs for name in (*structures, ALL_STRUCTURES)]
    differences = [_differences(values[run], values[reference], name) for run, name in pairs]
    raw = [signed_rank_p(found) for found in differences]
    return [
        PairedComparison(
            run=run,
            reference=reference,
            structure=name,
            measure=measure,
            patients=len(found),
            median_difference=float(np.median(found)) if found else math.nan,
            interval=_median_interval(found),
            p=p,
            p_holm=adjusted,
        )
        for (run, name), found, p, adjusted in zip(pairs, differences, raw, holm(raw), strict=True)
    ]


def signed_rank_p(differences: Sequence[float]) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test, nan for fewer than MIN_PATIENTS."""
    if len(differences) < MIN_PATIENTS:
        return math.nan
    if not np.any(differences):
        return 1.0
    # scipy builds the result's class at run time
    return float(wilcoxon(differences).pvalue)  # pyright: ignore[reportAttributeAccessIssue]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down method; nan stay nan and are not counted."""
    order = sorted(
        (i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i]
    )
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _by_patient(rows: Sequence[CaseScore], measure: Measure) -> dict[tuple[str, str], float]:
    """Return the mean value of every structure and patient; those without a value are left out."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        value = measure.penalised(row)
        if not math.isnan(value):
            found.setdefault((row.structure, row.patient), []).append(value)
    by_structure = {key: float(np.mean(values)) for key, values in found.items()}
    means: dict[str, list[float]] = {}
    for (_, patient), value in by_structure.items():
        means.setdefault(patient, []).append(value)
    overall = {(ALL_STRUCTURES, patient): float(np.mean(v)) for patient, v in means.items()}
    return by_structure | overall


def _differences(
    run: dict[tuple[str, str], float], reference: dict[tuple[str, str], float], structure: str
) -> list[float]:
    shared = sorted(key for key in run if key in reference and key[0] == structure)
    return [run[key] - reference[key] for key in shared]


def _median_interval(differences: Sequence[float]) -> Interval:
    if not differences:
        return NO_INTERVAL
    drawn = np.asarray(differences)[draw_indices(len(differences), seed=0)]
    return interval_of(np.median(drawn, axis=1))
