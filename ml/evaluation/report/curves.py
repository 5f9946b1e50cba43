"""How runs learned, epoch by epoch: what a report is told of it, and its CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml.evaluation.measures import mean_of_finite
from ml.evaluation.report.plan import ReportError

EPOCH_COLUMNS = ("run", "seed", "epoch", "training_loss", "validation_loss", "validation_dice")
"""Followed by the validation Dice of every structure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """What an epoch came to."""

    epoch: int
    """Counted from 1."""
    training_loss: float
    validation_loss: float
    validation_dice: Mapping[str, float]
    """By structure; nan for one that no validation case shows."""

    @property
    def mean_dice(self) -> float:
        """Mean over structures; nan if none has a value."""
        return mean_of_finite(list(self.validation_dice.values()))


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurve:
    """The epochs of one training.

    Raises:
        ReportError: epochs that do not ascend.
    """

    run: str
    """Label of the run, as rows have it; its repetitions differ in the seed."""
    seed: int
    points: tuple[CurvePoint, ...]

    def __post_init__(self) -> None:
        """Check the order."""
        epochs = [point.epoch for point in self.points]
        if epochs != sorted(set(epochs)):
            raise ReportError(f"{self.run}, seed {self.seed}: epochs must ascend")


def curves_to_csv(curves: Sequence[LearningCurve]) -> str:
    """Return a line for every epoch; floats survive to their last bit."""
    points = [point for curve in curves for point in curve.points]
    structures = list(dict.fromkeys(name for point in points for name in point.validation_dice))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*EPOCH_COLUMNS, *(f"validation_dice {name}" for name in structures)))
    for curve in curves:
        for point in curve.points:
            by_structure = (point.validation_dice.get(name, "") for name in structures)
            losses = point.training_loss, point.validation_loss
            own = curve.run, curve.seed, point.epoch, *losses, point.mean_dice
            writer.writerow((*own, *by_structure))
    return text.getvalue()
