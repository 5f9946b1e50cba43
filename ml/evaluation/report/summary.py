"""A report's numbers for programs: strict JSON, in which what is no finite number is null."""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from ml.evaluation.bootstrap import mean_interval
from ml.evaluation.comparison import PairedComparison
from ml.evaluation.measures import DSC, HD95, select
from ml.evaluation.report.detail_tables import paired_comparisons
from ml.evaluation.report.plan import (
    Comparison,
    ReportedRun,
    ReportPlan,
    ordered_structures,
    rows_of,
)
from ml.evaluation.rows import CaseScore
from ml.evaluation.summaries import count_empties, run_means, summarize_measure

FORMAT = 1
Json: TypeAlias = Any  # Any: values as json has them, of whatever depth


def report_summary(rows: Sequence[CaseScore], plan: ReportPlan) -> str:
    """Return means, per-structure summaries and paired tests of every comparison as JSON.

    Raises:
        ReportError: a run of the plan has no row on one of its parts.
    """
    values = {
        "format": FORMAT,
        "title": plan.title,
        "comparisons": [_comparison(rows, comparison) for comparison in plan.comparisons],
    }
    return json.dumps(_finite(values), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _comparison(rows: Sequence[CaseScore], comparison: Comparison) -> dict[str, Json]:
    paired = paired_comparisons(rows, comparison) if comparison.others else []
    return {
        "name": comparison.name,
        "title": comparison.title,
        "kind": comparison.kind.value,
        "reference": comparison.reference,
        "parts": list(comparison.parts),
        "runs": [_run(rows, run, comparison.parts) for run in comparison.runs],
        "paired": [_paired(pair, comparison.parts[0]) for pair in paired],
    }


def _run(rows: Sequence[CaseScore], run: ReportedRun, parts: Sequence[str]) -> dict[str, Json]:
    return {
        "label": run.label,
        "title": run.title,
        "parts": [_part(rows_of(rows, run.label, part), part) for part in parts],
    }


def _part(rows: Sequence[CaseScore], part: str) -> dict[str, Json]:
    return {
        "part": part,
        "seeds": sorted({row.seed for row in rows}),
        "cases": len({row.case for row in rows}),
        "patients": len({row.patient for row in rows}),
        "means": dataclasses.asdict(run_means(rows)),
        "intervals": {
            "mdsc_fg": dataclasses.asdict(mean_interval(rows, DSC)),
            "mhd_mm": dataclasses.asdict(mean_interval(rows, HD95)),
        },
        "structures": [
            _structure(select(rows, structure=name), name) for name in ordered_structures(rows)
        ],
    }


def _structure(rows: Sequence[CaseScore], name: str) -> dict[str, Json]:
    return {
        "structure": name,
        **{
            measure.column: dataclasses.asdict(summarize_measure(rows, measure))
            for measure in (DSC, HD95)
        },
        **dataclasses.asdict(count_empties(rows)),
    }


def _paired(pair: PairedComparison, part: str) -> dict[str, Json]:
    return {
        "run": pair.run,
        "reference": pair.reference,
        "part": part,
        "structure": pair.structure,
        "measure": pair.measure.column,
        "patients": pair.patients,
        "median_difference": pair.median_difference,
        "interval": dataclasses.asdict(pair.interval),
        "p": pair.p,
        "p_holm": pair.p_holm,
    }


def _finite(value: Json) -> Json:
    """Put null for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
