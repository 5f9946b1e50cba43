"""Every statement about runs, their epochs and their scores."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.database import Now, moments_in_turn
from services.core.errors import RunNotFoundError
from services.core.lifecycle import RESUMABLE_STATES, CasePart, JobStage, JobState
from services.core.repositories.leases import Claim
from services.core.tables.datasets import DatasetVersion
from services.core.tables.experiments import Experiment, Run, RunEpoch, RunScore
from services.core.tables.leased import Json

STREAMED_ROWS = 1000
"""Rows read from the database at a time where thousands are sent on."""

ESTIMATED_FROM = 200
"""Latest epochs that an estimate looks at."""


class RunRepository:
    """Runs of experiments."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def add_all(self, runs: Sequence[Run]) -> None:
        """Bring runs into the transaction, queued in their order; created_at is set here."""
        for run, moment in zip(runs, moments_in_turn(self._now()), strict=False):
            run.created_at = moment
        self._session.add_all(runs)
        self._session.flush()

    def get(self, run_id: UUID, *, locked: bool = False) -> Run:
        """Return a run as it is now.

        Raises:
            RunNotFoundError: no row has the id.
        """
        found = self._session.get(Run, run_id, populate_existing=True, with_for_update=locked)
        if found is None:
            raise RunNotFoundError(run_id)
        return found

    def page(self, experiment_id: UUID, limit: int, after: int | None = None) -> list[Run]:
        """List runs of an experiment in the order of its plan, from behind a position."""
        query = sa.select(Run).where(Run.experiment_id == experiment_id)
        if after is not None:
            query = query.where(Run.position > after)
        return list(self._session.scalars(query.order_by(Run.position).limit(limit)))

    def of_experiments(self, experiment_ids: Sequence[UUID]) -> list[Run]:
        """List all runs of some experiments in the order of their plans."""
        query = sa.select(Run).where(Run.experiment_id.in_(experiment_ids))
        return list(self._session.scalars(query.order_by(Run.experiment_id, Run.position)))

    def with_files_among(self, run_ids: Sequence[UUID]) -> set[UUID]:
        """Tell which of these ids are runs whose weights are, or may soon be, in storage."""
        return self._ids(run_ids, Run.state.in_([JobState.SUCCEEDED, JobState.RUNNING]))

    def succeeded_among(self, run_ids: Sequence[UUID]) -> set[UUID]:
        """Tell which of these ids are runs that will not be gone on with any more."""
        return self._ids(run_ids, Run.state == JobState.SUCCEEDED)

    def given_up_among(self, run_ids: Sequence[UUID], before: dt.datetime) -> set[UUID]:
        """Tell which of these ids are runs that failed or were cancelled before a moment."""
        return self._ids(run_ids, Run.state.in_(RESUMABLE_STATES), Run.finished_at < before)

    def requeue(self, run_id: UUID, *, from_the_start: bool, max_attempts: int) -> bool:
        """Queue a failed or cancelled run again; False where it is neither.

        Args:
            run_id: of the run.
            from_the_start: forget its epochs instead of going on behind the last one.
            max_attempts: starts before it fails.
        """
        fresh: Json = {}
        if from_the_start:
            fresh = {
                "restart_after": Run.fencing_token,
                "epochs": 0,
                "training_seconds": 0.0,
                "best_mean_dice": None,
            }
        queued = self._session.execute(
            sa.update(Run)
            .where(Run.id == run_id, Run.state.in_(RESUMABLE_STATES))
            .values(
                state=JobState.QUEUED,
                stage=JobStage.WAITING,
                progress=0.0,
                attempt=0,
                max_attempts=max_attempts,
                cancel_requested=False,
                published_at=None,
                finished_at=None,
                error_code=None,
                error_detail=None,
                error_context=None,
                **fresh,
            )
            .returning(Run.id)
            .execution_options(synchronize_session=False)
        ).first()
        if queued is not None and from_the_start:
            self._session.execute(sa.delete(RunEpoch).where(RunEpoch.run_id == run_id))
        return queued is not None

    def record_epoch(self, claim: Claim, epoch: RunEpoch, max_attempts: int) -> None:
        """Note a finished epoch, again if need be; the caller holds the lease.

        A run that finishes epochs is no poison, so its starts begin to count anew.
        """
        epoch.recorded_at = self._now()
        self._session.merge(epoch)
        self._session.flush()
        own = sa.select(
            sa.func.count(), sa.func.sum(RunEpoch.seconds), sa.func.max(RunEpoch.mean_dice)
        ).where(RunEpoch.run_id == claim.resource_id)
        count, seconds, best = self._session.execute(own).one()
        self._session.execute(
            sa.update(Run)
            .where(Run.id == claim.resource_id)
            .values(
                epochs=count,
                training_seconds=seconds,
                best_mean_dice=best,
                max_attempts=Run.attempt + max_attempts - 1,
            )
            .execution_options(synchronize_session=False)
        )

    def epochs(self, run_ids: Sequence[UUID]) -> list[RunEpoch]:
        """List the epochs of runs, each run's in order."""
        query = sa.select(RunEpoch).where(RunEpoch.run_id.in_(run_ids))
        return list(self._session.scalars(query.order_by(RunEpoch.run_id, RunEpoch.epoch)))

    def epoch_page(self, run_id: UUID, limit: int, after: int | None) -> list[RunEpoch]:
        """List epochs of a run from behind one."""
        query = sa.select(RunEpoch).where(RunEpoch.run_id == run_id)
        if after is not None:
            query = query.where(RunEpoch.epoch > after)
        return list(self._session.scalars(query.order_by(RunEpoch.epoch).limit(limit)))

    def replace_scores(self, run_id: UUID, scores: Sequence[Json]) -> None:
        """Put these scores in place of any earlier ones of the run."""
        self._session.execute(sa.delete(RunScore).where(RunScore.run_id == run_id))
        if scores:
            rows = [score | {"run_id": run_id} for score in scores]
            self._session.execute(sa.insert(RunScore), rows)

    def test_dice(self, run_id: UUID) -> dict[str, float | None]:
        """Return the mean Dice of every structure over the test cases of a run."""
        rows = self._session.execute(
            sa.select(RunScore.structure, sa.func.avg(RunScore.dice).label("dice"))
            .where(RunScore.run_id == run_id, RunScore.part == CasePart.TEST.value)
            .group_by(RunScore.structure)
        )
        return {row.structure: row.dice for row in rows}

    def score_page(
        self,
        run_id: UUID,
        limit: int,
        after: int | None = None,
        *,
        structure: str | None = None,
    ) -> list[RunScore]:
        """List scores of a run from behind one."""
        query = sa.select(RunScore).where(RunScore.run_id == run_id)
        if structure is not None:
            query = query.where(RunScore.structure == structure)
        if after is not None:
            query = query.where(RunScore.id > after)
        return list(self._session.scalars(query.order_by(RunScore.id).limit(limit)))

    def stream_scores(self, experiment_ids: Sequence[UUID]) -> Iterator[sa.Row[Any]]:
        """Yield the scores of experiments' runs in the order of their plans, a piece at a time.

        Rows have the columns of RunScore, and label and seed of the run.
        """
        query = (
            sa.select(Run.label, Run.seed, *RunScore.__table__.columns)
            .join(RunScore, RunScore.run_id == Run.id)
            .where(Run.experiment_id.in_(experiment_ids))
            .order_by(Run.experiment_id, Run.position, RunScore.id)
            .execution_options(yield_per=STREAMED_ROWS)
        )
        yield from self._session.execute(query)

    def _ids(self, run_ids: Sequence[UUID], *conditions: sa.ColumnElement[bool]) -> set[UUID]:
        return set(self._session.scalars(sa.select(Run.id).where(Run.id.in_(run_ids), *conditions)))

    def measured_epochs(self, network: str) -> list[tuple[Json, Json, float]]:
        """Return configuration, facts of the dataset version and seconds of latest epochs."""
        rows = self._session.execute(
            sa.select(Run.config, DatasetVersion.facts, RunEpoch.seconds)
            .join(Run, Run.id == RunEpoch.run_id)
            .join(Experiment, Experiment.id == Run.experiment_id)
            .join(DatasetVersion, DatasetVersion.id == Experiment.dataset_version_id)
            .where(Run.config["network"]["name"].as_string() == network)
            .order_by(RunEpoch.recorded_at.desc())
            .limit(ESTIMATED_FROM)
        )
        return [(config, facts or {}, seconds) for config, facts, seconds in rows]
