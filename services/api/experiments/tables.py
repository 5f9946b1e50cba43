"""Scores and epochs of experiments as CSV, read from the database while they are sent."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from uuid import UUID

from services.core.tables.experiments import Run, RunScore
from services.core.unit_of_work import UnitOfWork

LINES = 500
"""Sent at a time."""

_KEYS = ("id", "run_id")
SCORE_COLUMNS = tuple(
    column.name for column in RunScore.__table__.columns if column.name not in _KEYS
)
"""With run and seed before them the columns of ml.evaluation.rows, so that `cervicontour report`
reads the file."""
EPOCH_COLUMNS = (
    "epoch",
    "training_loss",
    "validation_loss",
    "mean_dice",
    "learning_rate",
    "seconds",
    "is_best",
    "is_best_dice",
)


def scores_csv(new_unit_of_work: Callable[[], UnitOfWork], experiment_id: UUID) -> Iterator[str]:
    """Yield the scores of every run; nan and inf as Python writes them."""

    def rows(uow: UnitOfWork) -> Iterator[list[object]]:
        for row in uow.runs.stream_scores([experiment_id]):
            yield _cells(row, ("label", "seed", *SCORE_COLUMNS))

    return _stream(new_unit_of_work, ("run", "seed", *SCORE_COLUMNS), rows)


def epochs_csv(new_unit_of_work: Callable[[], UnitOfWork], experiment_id: UUID) -> Iterator[str]:
    """Yield the epochs of every run."""

    def rows(uow: UnitOfWork) -> Iterator[list[object]]:
        runs: dict[UUID, Run] = {run.id: run for run in uow.runs.of_experiments([experiment_id])}
        for epoch in uow.runs.epochs(list(runs)):
            run = runs[epoch.run_id]
            yield [run.label, run.seed, *_cells(epoch, EPOCH_COLUMNS)]

    return _stream(new_unit_of_work, ("run", "seed", *EPOCH_COLUMNS), rows)


def _cells(row: object, names: Iterable[str]) -> list[object]:
    values = [getattr(row, name) for name in names]
    return ["nan" if value is None else value for value in values]


def _stream(
    new_unit_of_work: Callable[[], UnitOfWork],
    header: tuple[str, ...],
    rows: Callable[[UnitOfWork], Iterator[list[object]]],
) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    with new_unit_of_work() as uow:
        for number, row in enumerate(rows(uow), start=1):
            writer.writerow(row)
            if number % LINES == 0:
                yield text.getvalue()
                text.seek(0)
                text.truncate()
    yield text.getvalue()
