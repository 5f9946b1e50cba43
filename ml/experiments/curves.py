"""How the runs of an experiment learned, from what they reported."""

import json
from pathlib import Path

from ml.evaluation.report.curves import CurvePoint, LearningCurve
from ml.experiments.execution import EPOCHS_FILE
from ml.training.reporter import EpochReport


def read_curve(folder: Path, label: str, seed: int) -> LearningCurve | None:
    """Return the epochs a run's folder tells of, or None if it tells of none."""
    path = folder / EPOCHS_FILE
    if not path.exists():
        return None
    reports = [EpochReport(**json.loads(line)) for line in path.read_text().splitlines()]
    return LearningCurve(run=label, seed=seed, points=tuple(map(curve_point, reports)))


def read_curves(folder: Path) -> list[LearningCurve]:
    """Return the curves of all runs in a folder of runs, each named <label>-s<seed>."""
    found: list[LearningCurve | None] = []
    for place in sorted(folder.glob("*-s*")):
        label, _, seed = place.name.rpartition("-s")
        if seed.isdecimal():
            found.append(read_curve(place, label, int(seed)))
    return [curve for curve in found if curve is not None]


def curve_point(report: EpochReport) -> CurvePoint:
    """Return what a learning curve shows of an epoch."""
    return CurvePoint(
        epoch=report.epoch,
        training_loss=report.training_loss,
        validation_loss=report.validation_loss,
        validation_dice=report.validation_dice,
    )
