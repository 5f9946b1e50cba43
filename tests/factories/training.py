"""Reporters and cases for training runs of a few seconds."""

from ml.structures import CERVIX
from ml.training.data import TrainingData
from ml.training.reporter import EpochReport
from tests.factories.cases import make_case


class ListReporter:
    """Keeps what it hears and asks to stop after so many epochs, batches, or questions."""

    def __init__(
        self,
        stop_after: int | None = None,
        stop_after_batches: int | None = None,
        stop_after_questions: int | None = None,
    ):
        self.reports: list[EpochReport] = []
        self.batches: list[tuple[int, int, float]] = []
        self._stop_after = stop_after
        self._stop_after_batches = stop_after_batches
        self._stop_after_questions = stop_after_questions
        self.questions = 0

    def batch_finished(self, done: int, total: int, loss: float) -> None:
        self.batches.append((done, total, loss))

    def epoch_finished(self, report: EpochReport) -> None:
        self.reports.append(report)

    def should_stop(self) -> bool:
        self.questions += 1
        return (
            self.questions - 1 == self._stop_after_questions
            or len(self.reports) == self._stop_after
            or len(self.batches) == self._stop_after_batches
        )


def make_training_data() -> TrainingData:
    """Make two training cases and one validation case of four slices each."""
    cases = [make_case(seed) for seed in range(3)]
    return TrainingData(training=cases[:2], validation=cases[2:], structures=CERVIX)


def make_report(**values) -> EpochReport:
    """Make the report of a first epoch, with some values changed."""
    known = {
        "epoch": 1,
        "training_loss": 0.5,
        "validation_loss": 0.6,
        "validation_dice": {"Bladder": 0.8, "Rectum": 0.6},
        "learning_rate": 1e-3,
        "seconds": 3.0,
        "seconds_waited": 0.0,
        "is_best": True,
        "is_best_dice": True,
    }
    return EpochReport(**(known | values))
