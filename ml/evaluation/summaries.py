"""What many rows say together: per structure, over structures, over seeds.

Means are over what is finite, empties are counted beside them, and a penalised mean takes the
image's diagonal for an infinite distance; medians and quartiles take infinite values as they are.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ml.evaluation.bootstrap import Interval, mean_interval, quantile
from ml.evaluation.measures import (
    DSC,
    HD95,
    SLICE_DSC_BOTH_EMPTY_1,
    Measure,
    mean_of_finite,
    mean_over_structures,
    select,
    structures_of,
)
from ml.evaluation.rows import CaseScore


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """One measure over rows of one structure."""

    finite: int
    """Rows the mean and SD are made of."""
    mean: float
    sd: float
    """Of the sample (n - 1); nan for fewer than two."""
    median: float
    lower_quartile: float
    upper_quartile: float
    interval: Interval
    """Of the mean, by resampling patients."""
    penalised_mean: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Empties:
    """Rows of one structure with an empty mask."""

    both_empty: int
    """Left out of every mean."""
    missed: int
    hallucinated: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RunMeans:
    """The overall numbers of a run, by the name that says how they are formed (a.4)."""

    mdsc_fg: float
    """Mean over structures: the primary one, to be held against .82225 of the paper."""
    mdsc_5: float
    """The background of the whole CT as one class more."""
    mdsc_slicewise_bothempty1: float
    """Slices without the structure in both masks count 1."""
    mhd_mm: float
    """Mean over structures of the mean finite 95HD."""
    mhd_penalised_mm: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedSpread:
    """A number of a run repeated with several seeds."""

    seeds: int
    mean: float
    sd: float
    """Of the sample (n - 1); nan for one seed."""
    low: float
    high: float


def summarize_measure(rows: Sequence[CaseScore], measure: Measure) -> Summary:
    """Summarise rows of one structure."""
    values = [measure.value(row) for row in rows]
    finite = [value for value in values if math.isfinite(value)]
    return Summary(
        finite=len(finite),
        mean=mean_of_finite(values),
        sd=_sample_sd(finite),
        median=quantile(values, 0.5),
        lower_quartile=quantile(values, 0.25),
        upper_quartile=quantile(values, 0.75),
        interval=mean_interval(rows, measure),
        penalised_mean=mean_of_finite([measure.penalised(row) for row in rows]),
    )


def count_empties(rows: Sequence[CaseScore]) -> Empties:
    """Count rows with an empty mask."""
    return Empties(
        both_empty=sum(row.is_absent for row in rows),
        missed=sum(row.is_missed for row in rows),
        hallucinated=sum(row.is_hallucinated for row in rows),
    )


def run_means(rows: Sequence[CaseScore]) -> RunMeans:
    """Form the overall numbers of one run and part."""
    structures = structures_of(rows)
    by_structure = [
        mean_of_finite([row.dice for row in select(rows, structure=name)]) for name in structures
    ]
    background = mean_of_finite([row.background_dice for row in rows])
    return RunMeans(
        mdsc_fg=mean_over_structures(rows, DSC),
        mdsc_5=mean_of_finite([*by_structure, background]),
        mdsc_slicewise_bothempty1=mean_over_structures(rows, SLICE_DSC_BOTH_EMPTY_1),
        mhd_mm=mean_over_structures(rows, HD95),
        mhd_penalised_mm=mean_over_structures(rows, HD95, penalised=True),
    )


def over_seeds(
    rows: Sequence[CaseScore], statistic: Callable[[Sequence[CaseScore]], float]
) -> SeedSpread:
    """Form a number for every seed of a run and return its mean and spread."""
    seeds = sorted({row.seed for row in rows})
    values = [statistic([row for row in rows if row.seed == seed]) for seed in seeds]
    finite = [value for value in values if math.isfinite(value)]
    return SeedSpread(
        seeds=len(seeds),
        mean=mean_of_finite(values),
        sd=_sample_sd(finite),
        low=min(finite, default=math.nan),
        high=max(finite, default=math.nan),
    )


def _sample_sd(finite: Sequence[float]) -> float:
    return float(np.std(finite, ddof=1)) if len(finite) > 1 else math.nan
