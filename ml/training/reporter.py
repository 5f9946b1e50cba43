"""Who hears of a run's progress, and may stop it."""

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ml.whole_files import write_whole

_logger = logging.getLogger(__name__)


class StopRequestedError(Exception):
    """A reporter asked for the end of a run in the middle of an epoch, which is lost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochReport:
    """What an epoch came to."""

    epoch: int
    """Counted from 1."""
    training_loss: float
    validation_loss: float
    validation_dice: dict[str, float]
    """Mean over cases of the 3-D Dice on the network's grid, by structure."""
    learning_rate: float
    """At the epoch's last step."""
    seconds: float
    seconds_waited: float
    """For batches, of all seconds."""
    is_best: bool
    """Whether no epoch before had a validation loss as low."""
    is_best_dice: bool
    """Whether no epoch before had a mean validation Dice as high."""


@runtime_checkable  # the tests' type checker asks isinstance
class Reporter(Protocol):
    """Hears of a run.

    An epoch is reported before it is saved, so none is lost if the process is killed in between;
    the run that goes on then reports it again, with the same numbers but for the seconds.
    """

    def batch_finished(self, done: int, total: int, loss: float) -> None:
        """Take note of a finished batch, the `done`-th of the epoch's `total`."""
        ...

    def epoch_finished(self, report: EpochReport) -> None:
        """Take note of a finished epoch, perhaps for a second time."""
        ...

    def should_stop(self) -> bool:
        """Tell whether the run shall end: at once, back at the last finished epoch.

        It is asked before every batch of training and of validation, and after every epoch.
        """
        ...


class FileReporter:
    """Keeps a line of json per epoch in a file and logs a sentence."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def batch_finished(self, done: int, total: int, loss: float) -> None:
        """Take note of a finished batch."""
        _logger.debug("batch %d of %d: loss %.4f", done, total, loss)

    def epoch_finished(self, report: EpochReport) -> None:
        """Write the epoch's line after those of earlier epochs; later ones were never saved."""
        lines = [line for line in self._lines() if json.loads(line)["epoch"] < report.epoch]
        lines.append(json.dumps(dataclasses.asdict(report)))
        write_whole(self._path, "\n".join(lines) + "\n")
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

    def _lines(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []
