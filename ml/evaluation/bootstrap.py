"""Confidence intervals by resampling patients, and quantiles that bear infinite values.

Patients are drawn with replacement and bring all their rows (cases, seeds, structures), so
intervals say how far a result hangs on which patients were in the test set.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.arrays import PatientDraws, Statistics
from ml.evaluation.measures import Measure, structures_of
from ml.evaluation.rows import CaseScore

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A percentile interval of LEVEL; nan at both ends where nothing can be drawn."""

    low: float
    high: float


NO_INTERVAL = Interval(low=math.nan, high=math.nan)


def mean_interval(rows: Sequence[CaseScore], measure: Measure, seed: int = 0) -> Interval:
    """Return the interval of the mean over structures of their means over finite values.

    With rows of one structure it is the interval of that structure's mean.
    """
    patients = {name: i for i, name in enumerate(sorted({row.patient for row in rows}))}
    structures = {name: i for i, name in enumerate(structures_of(rows))}
    sums = np.zeros((len(patients), len(structures)))
    counts = np.zeros_like(sums)
    for row in rows:
        value = measure.value(row)
        if math.isfinite(value):
            place = patients[row.patient], structures[row.structure]
            sums[place] += value
            counts[place] += 1
    if not counts.any():
        return NO_INTERVAL
    drawn = draw_counts(len(patients), seed)
    totals, weights = drawn @ sums, drawn @ counts
    known = weights > 0
    means = np.divide(totals, weights, out=np.zeros_like(totals), where=known)
    usable = known.any(axis=1)
    return interval_of(means[usable].sum(axis=1) / known[usable].sum(axis=1))


def draw_counts(patients: int, seed: int) -> PatientDraws:
    """Return how often every patient is drawn in every resample."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(patients, np.full(patients, 1 / patients), size=RESAMPLES)


def draw_indices(patients: int, seed: int) -> PatientDraws:
    """Return which patients are drawn in every resample."""
    return np.random.default_rng(seed).integers(0, patients, size=(RESAMPLES, patients))


def interval_of(statistics: Statistics) -> Interval:
    """Return the central LEVEL of the resamples' statistics."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(statistics, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def quantile(values: Sequence[float], share: float) -> float:
    """Return a linearly interpolated quantile; infinite values take part, nan do not."""
    ordered = sorted(value for value in values if not math.isnan(value))
    if not ordered:
        return math.nan
    position = (len(ordered) - 1) * share
    below, above = ordered[math.floor(position)], ordered[math.ceil(position)]
    if below == above:
        return below
    return below + (above - below) * (position - math.floor(position))
