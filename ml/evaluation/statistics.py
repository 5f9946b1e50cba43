"""Tables of many cases: means over what is finite, with counts of what is not."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ml.evaluation.rows import CaseScore


def summarize(scores: Sequence[CaseScore]) -> dict[str, Any]:  # Any: json
    """Return per structure the mean, SD, median and worst of DSC and HD95, and the empties."""
    names = list(dict.fromkeys(score.structure for score in scores))
    table: dict[str, Any] = {"cases": len({score.case for score in scores})}
    for name in names:
        own = [score for score in scores if score.structure == name]
        table[name] = {
            "dice": _spread([score.dice for score in own], worst=min),
            "hd95_mm": _spread([score.hd95_mm for score in own], worst=max),
            "missed": sum(score.is_missed for score in own),
            "hallucinated": sum(score.is_hallucinated for score in own),
            "both_empty": sum(score.is_absent for score in own),
        }
    means = [table[name]["dice"]["mean"] for name in names if table[name]["dice"]["finite"]]
    table["mdsc_fg"] = round(float(np.mean(means)), 4) if means else None
    return table


def _spread(
    values: Sequence[float], worst: Callable[[list[float]], float]
) -> dict[str, float | int]:
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return {"finite": 0}
    return {
        "mean": round(float(np.mean(finite)), 4),
        "sd": round(float(np.std(finite)), 4),
        "median": round(float(np.median(finite)), 4),
        "worst": round(float(worst(finite)), 4),
        "finite": len(finite),
    }
