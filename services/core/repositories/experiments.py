"""Every statement about experiments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import ExperimentNotFoundError
from services.core.lifecycle import ACTIVE_STATES, ExperimentKind, ExperimentState, JobState
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.experiments import Experiment, Run


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentTally:
    """What the runs of an experiment came to so far."""

    runs: int
    by_state: dict[JobState, int]
    epochs: int
    """Finished, over all runs."""
    max_epochs: int
    """Of all runs together, if none ends early."""
    remaining_epochs: int
    """Of the runs that are not over, if none ends early."""
    training_seconds: float
    best_mean_dice: float | None
    """The best validation Dice a succeeded run reached."""


NO_RUNS = ExperimentTally(
    runs=0,
    by_state={},
    epochs=0,
    max_epochs=0,
    remaining_epochs=0,
    training_seconds=0.0,
    best_mean_dice=None,
)


class ExperimentRepository:
    """Experiments."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def add(self, experiment: Experiment) -> None:
        """Bring an experiment into the transaction; created_at is set here."""
        experiment.created_at = self._now()
        self._session.add(experiment)
        self._session.flush()

    def get(self, experiment_id: UUID) -> Experiment:
        """Return an experiment as it is now.

        Raises:
            ExperimentNotFoundError: no row has the id.
        """
        found = self._session.get(Experiment, experiment_id, populate_existing=True)
        if found is None:
            raise ExperimentNotFoundError(experiment_id)
        return found

    def page(
        self,
        limit: int,
        after: PageCursor | None = None,
        *,
        state: ExperimentState | None = None,
        kind: ExperimentKind | None = None,
        dataset_version_id: UUID | None = None,
    ) -> list[Experiment]:
        """List experiments, newest first, from behind a cursor."""
        query = sa.select(Experiment)
        for column, value in (
            (Experiment.state, state),
            (Experiment.kind, kind),
            (Experiment.dataset_version_id, dataset_version_id),
        ):
            if value is not None:
                query = query.where(column == value)
        return list(self._session.scalars(page_of(query, Experiment, after).limit(limit)))

    def tallies(self, experiment_ids: Sequence[UUID]) -> dict[UUID, ExperimentTally]:
        """Return what the runs of these experiments came to so far."""
        left = sa.case((Run.state.in_(ACTIVE_STATES), Run.max_epochs - Run.epochs), else_=0)
        best = sa.case((Run.state == JobState.SUCCEEDED, Run.mean_dice))
        rows = self._session.execute(
            sa.select(
                Run.experiment_id,
                Run.state,
                sa.func.count().label("runs"),
                sa.func.sum(Run.epochs).label("epochs"),
                sa.func.sum(Run.max_epochs).label("max_epochs"),
                sa.func.sum(left).label("remaining_epochs"),
                sa.func.sum(Run.training_seconds).label("training_seconds"),
                sa.func.max(best).label("best"),
            )
            .where(Run.experiment_id.in_(experiment_ids))
            .group_by(Run.experiment_id, Run.state)
        ).all()
        states: dict[UUID, list[Any]] = {}  # Any: rows of the columns above
        for row in rows:
            states.setdefault(row.experiment_id, []).append(row)
        return {experiment_id: _tally(own) for experiment_id, own in states.items()}

    def conclude(self) -> list[UUID]:
        """Finish every experiment whose runs are all over; return those with a run that succeeded.

        Of several workers that come at the same time one gets an experiment.
        """
        unfinished = sa.exists().where(
            Run.experiment_id == Experiment.id, Run.state.in_(ACTIVE_STATES)
        )
        finished = self._session.scalars(
            sa.update(Experiment)
            .where(Experiment.state == ExperimentState.RUNNING, ~unfinished)
            .values(state=ExperimentState.FINISHED, finished_at=self._now())
            .returning(Experiment.id)
            .execution_options(synchronize_session=False)
        ).all()
        succeeded = self._session.scalars(
            sa.select(Run.experiment_id)
            .where(Run.experiment_id.in_(finished), Run.state == JobState.SUCCEEDED)
            .distinct()
        )
        return list(succeeded)

    def reopen(self, experiment_id: UUID) -> None:
        """Note that a run of a finished experiment goes on."""
        self._session.execute(
            sa.update(Experiment)
            .where(Experiment.id == experiment_id)
            .values(state=ExperimentState.RUNNING, finished_at=None)
            .execution_options(synchronize_session=False)
        )


def _tally(states: Sequence[Any]) -> ExperimentTally:  # Any: rows of tallies()
    return ExperimentTally(
        runs=sum(row.runs for row in states),
        by_state={row.state: row.runs for row in states},
        epochs=sum(row.epochs for row in states),
        max_epochs=sum(row.max_epochs for row in states),
        remaining_epochs=sum(row.remaining_epochs for row in states),
        training_seconds=sum(row.training_seconds for row in states),
        best_mean_dice=max((row.best for row in states if row.best is not None), default=None),
    )
