"""Who hears of a run's progress, and may stop it."""

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochReport:
    """What an epoch came to."""

    epoch: int
    """Counted from 1."""
    training_loss: float
    validation_loss: float
    validation_dice: dict[str, float]
    """Mean over patients of the 3-D Dice on the network's grid, by structure."""
    learning_rate: float
    """At the epoch's last step."""
    seconds: float
    is_best: bool


@runtime_checkable  # the tests' type checker asks isinstance
class Reporter(Protocol):
    """Hears of a run."""

    def epoch_finished(self, report: EpochReport) -> None:
        """Take note of a finished epoch."""
        ...

    def should_stop(self) -> bool:
        """Tell whether the run shall end after the present epoch."""
        ...


class FileReporter:
    """Appends a line of json per epoch to a file and logs a sentence."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def epoch_finished(self, report: EpochReport) -> None:
        """Take note of a finished epoch."""
        with self._path.open("a") as file:
            file.write(json.dumps(dataclasses.asdict(report)) + "\n")
        dice = " ".join(f"{name} {value:.3f}" for name, value in report.validation_dice.items())
        _logger.info(
            "epoch %d: training %.4f validation %.4f, Dice %s, %.0f s%s",
            report.epoch,
            report.training_loss,
            report.validation_loss,
            dice,
            report.seconds,
            ", best" if report.is_best else "",
        )

    def should_stop(self) -> bool:
        """Never ask a run to stop."""
        return False
