"""What a training shows on the screen, and how Ctrl-C ends it without losing an epoch."""

import signal
import sys
from pathlib import Path
from types import FrameType, TracebackType

import click
from tqdm import tqdm

from ml.training.reporter import EpochReport, FileReporter


class TrainingProgress(FileReporter):
    """Shows a bar of batches and a line per epoch; Ctrl-C stops the run after its batch."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._bar = tqdm(unit="batch", file=sys.stderr, disable=None, leave=False)
        self._is_stopped = False
        self._former = signal.getsignal(signal.SIGINT)

    def __enter__(self) -> "TrainingProgress":
        """Listen to Ctrl-C."""
        signal.signal(signal.SIGINT, self._stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the screen and Ctrl-C as they were."""
        signal.signal(signal.SIGINT, self._former)
        self._bar.close()

    def batch_finished(self, done: int, total: int, loss: float) -> None:
        """Move the bar."""
        self._bar.total = total
        self._bar.n = done
        self._bar.set_postfix(loss=f"{loss:.3f}")

    def epoch_finished(self, report: EpochReport) -> None:
        """Write the epoch to its file and say what it came to."""
        super().epoch_finished(report)
        dice = "  ".join(f"{name} {value:.3f}" for name, value in report.validation_dice.items())
        mark = "  best" if report.is_best else ""
        tqdm.write(
            f"epoch {report.epoch:>3}  loss {report.training_loss:.4f} / "
            f"{report.validation_loss:.4f}  {dice}  {report.seconds:.0f} s{mark}",
            file=sys.stderr,
        )

    def should_stop(self) -> bool:
        """Tell whether Ctrl-C was pressed."""
        return self._is_stopped

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler's arguments
        click.echo("stopping after this batch", err=True)
        self._is_stopped = True
