"""Experiments in the words of the domain: asked, watched, stopped and gone on with."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from ml.planning.plan import PlannedRun
from ml.planning.ranking import Rank, RunOutcome, rank
from services.api.experiments.errors import RunNotResumableError
from services.api.experiments.planning import (
    ExperimentQuestion,
    check_dataset,
    plan_experiment,
    seconds_per_epoch,
)
from services.api.idempotency import KeyedRoute, RequestKey, WorkRequest, text_sha256
from services.core.audit import Action, ResourceKind
from services.core.errors import IllegalTransitionError
from services.core.lifecycle import (
    ExperimentKind,
    ExperimentState,
    JobState,
    is_legal,
)
from services.core.queue import QueueName, TaskName
from services.core.repositories.experiments import NO_RUNS, ExperimentTally
from services.core.repositories.paging import PageCursor
from services.core.tables.datasets import DatasetVersion
from services.core.tables.experiments import Experiment, Run, RunEpoch, RunScore
from services.core.tables.leased import Json
from services.core.unit_of_work import UnitOfWork

RANKED_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED})


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentRequest:
    """What is asked of which cases."""

    name: str
    dataset_version_id: UUID
    question: ExperimentQuestion
    asked: Json
    """The request as it is kept, defaults filled in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """How long a plan takes if no run ends early."""

    epochs: int
    compute_seconds: float | None
    """Of all runs one after the other; None where no epoch of one of them was measured here."""
    workers: int
    """Training workers that reported themselves lately."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRun:
    """What an experiment would be."""

    plan: Sequence[PlannedRun]
    estimate: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedExperiment:
    """An experiment and what its runs came to so far."""

    experiment: Experiment
    tally: ExperimentTally
    workers: int
    """Training workers that reported themselves lately."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedRun:
    """A run and its place in the queue."""

    run: Run
    queue_position: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """An experiment at one moment."""

    watched: WatchedExperiment
    runs: Sequence[WatchedRun]
    epochs: Sequence[RunEpoch]
    """Those the asker does not know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A configuration on the leaderboard."""

    rank: Rank
    runs: Sequence[Run]


class ExperimentService:
    """Experiments and their runs."""

    def __init__(
        self, new_unit_of_work: Callable[[], UnitOfWork], worker_silent_seconds: float
    ) -> None:
        self._new_unit_of_work = new_unit_of_work
        self._worker_silent_seconds = worker_silent_seconds

    def dry_run(self, request: ExperimentRequest) -> DryRun:
        """Plan without storing anything.

        Raises:
            ServiceError: as post().
        """
        plan = plan_experiment(request.question)
        with self._new_unit_of_work() as uow:
            version = uow.dataset_versions.get(request.dataset_version_id)
            check_dataset(plan, version)
            return DryRun(plan=plan, estimate=self._estimate(uow, plan, version))

    def post(self, request: ExperimentRequest, work: WorkRequest) -> WatchedExperiment:
        """Queue every run of an experiment, or return the one the same keyed request made.

        Raises:
            ConfigInvalidError: a setting that does not exist, or a value it cannot have.
            TooManyRunsError: more runs than one experiment may have.
            DatasetVersionNotFoundError: no row has the id.
            ServiceError: the version cannot be trained on; see check_dataset.
            IdempotencyKeyReusedError: the key came with a different request.
        """
        plan = plan_experiment(request.question)
        key = RequestKey(
            route=KeyedRoute.EXPERIMENTS,
            key=work.idempotency_key,
            request_sha256=text_sha256(
                json.dumps([request.name, str(request.dataset_version_id), request.asked])
            ),
        )
        with self._new_unit_of_work() as uow:
            experiment_id = key.find(uow)
            if experiment_id is None:
                check_dataset(plan, uow.dataset_versions.get_locked(request.dataset_version_id))
                experiment = _add(uow, request, plan, work)
                experiment_id = key.remember(uow, experiment.id)
                if experiment_id == experiment.id:
                    uow.audit.record(
                        Action.EXPERIMENT_STARTED,
                        ResourceKind.EXPERIMENT,
                        experiment_id,
                        dataset_version_id=str(request.dataset_version_id),
                        kind=request.question.kind.value,
                        runs=len(plan),
                    )
                    uow.commit()
        return self.get(experiment_id)

    def get(self, experiment_id: UUID) -> WatchedExperiment:
        """Return an experiment; raises ExperimentNotFoundError."""
        with self._new_unit_of_work() as uow:
            return self._watched(uow, [uow.experiments.get(experiment_id)])[0]

    def page(
        self,
        limit: int,
        after: PageCursor | None,
        *,
        state: ExperimentState | None,
        kind: ExperimentKind | None,
        dataset_version_id: UUID | None,
    ) -> Sequence[WatchedExperiment]:
        """List experiments, newest first, from behind a cursor."""
        with self._new_unit_of_work() as uow:
            rows = uow.experiments.page(
                limit, after, state=state, kind=kind, dataset_version_id=dataset_version_id
            )
            return self._watched(uow, rows)

    def snapshot(self, experiment_id: UUID, known_epochs: Mapping[UUID, int]) -> Snapshot:
        """Return an experiment with its runs and the epochs behind the known ones.

        Raises:
            ExperimentNotFoundError: no row has the id.
        """
        with self._new_unit_of_work() as uow:
            watched = self._watched(uow, [uow.experiments.get(experiment_id)])[0]
            runs = uow.runs.of_experiments([experiment_id])
            grown = [run.id for run in runs if run.epochs > known_epochs.get(run.id, 0)]
            epochs = [
                epoch
                for epoch in uow.runs.epochs(grown)
                if epoch.epoch > known_epochs.get(epoch.run_id, 0)
            ]
            return Snapshot(watched=watched, runs=_watched_runs(uow, runs), epochs=epochs)

    def cancel(self, experiment_id: UUID) -> WatchedExperiment:
        """End every queued run and ask every running one to stop.

        Raises:
            ExperimentNotFoundError: no row has the id.
        """
        with self._new_unit_of_work() as uow:
            uow.experiments.get(experiment_id)
            runs = uow.runs.of_experiments([experiment_id])
            uow.leases.request_cancel(TaskName.RUN_TRAIN, *(run.id for run in runs))
            uow.audit.record(
                Action.EXPERIMENT_CANCELLED, ResourceKind.EXPERIMENT, experiment_id, runs=len(runs)
            )
            uow.commit()
        return self.get(experiment_id)

    def leaderboard(self, experiment_id: UUID) -> Sequence[Place]:
        """Order the configurations by validation Dice, over their seeds; unfinished runs wait.

        Raises:
            ExperimentNotFoundError: no row has the id.
        """
        with self._new_unit_of_work() as uow:
            uow.experiments.get(experiment_id)
            runs = uow.runs.of_experiments([experiment_id])
        places = rank([_outcome(run) for run in runs if run.state in RANKED_STATES])
        return [
            Place(rank=place, runs=[run for run in runs if run.label == place.label])
            for place in places
        ]

    def run(self, run_id: UUID) -> WatchedRun:
        """Return a run; raises RunNotFoundError."""
        with self._new_unit_of_work() as uow:
            return _watched_runs(uow, [uow.runs.get(run_id)])[0]

    def run_page(self, experiment_id: UUID, limit: int, after: int | None) -> Sequence[WatchedRun]:
        """List runs in the order of the plan; raises ExperimentNotFoundError."""
        with self._new_unit_of_work() as uow:
            uow.experiments.get(experiment_id)
            return _watched_runs(uow, uow.runs.page(experiment_id, limit, after))

    def cancel_run(self, run_id: UUID) -> WatchedRun:
        """End a queued run and ask a running one to stop.

        Raises:
            RunNotFoundError: no row has the id.
            IllegalTransitionError: it succeeded or failed before.
        """
        with self._new_unit_of_work() as uow:
            uow.leases.request_cancel(TaskName.RUN_TRAIN, run_id)
            run = uow.runs.get(run_id)
            is_cancelled = run.state is JobState.CANCELLED
            if not is_cancelled and not is_legal(run.state, JobState.CANCELLED):
                raise IllegalTransitionError(run_id, run.state, JobState.CANCELLED)
            uow.audit.record(Action.RUN_CANCELLED, ResourceKind.RUN, run_id)
            uow.commit()
        return self.run(run_id)

    def requeue_run(self, run_id: UUID, work: WorkRequest, *, from_the_start: bool) -> WatchedRun:
        """Queue a failed or cancelled run again, behind its last epoch or from the start.

        Raises:
            RunNotFoundError: no row has the id.
            RunNotResumableError: it is queued, running or succeeded.
            DatasetPurgedError: the cases are gone.
            IdempotencyKeyReusedError: the key came with another run, or the other way.
        """
        key = RequestKey(
            route=KeyedRoute.RUNS_REQUEUED,
            key=work.idempotency_key,
            request_sha256=text_sha256(f"{run_id} {from_the_start}"),
        )
        with self._new_unit_of_work() as uow:
            run = uow.runs.get(run_id)
            experiment = uow.experiments.get(run.experiment_id)
            version = uow.dataset_versions.get_locked(experiment.dataset_version_id)
            if key.find(uow) is None:
                check_dataset([], version)
                if not uow.runs.requeue(
                    run_id, from_the_start=from_the_start, max_attempts=work.max_attempts
                ):
                    raise RunNotResumableError(run_id, run.state)
                uow.experiments.reopen(experiment.id)
                uow.enqueue(TaskName.RUN_TRAIN, run_id)
                key.remember(uow, run_id)
                uow.audit.record(
                    Action.RUN_RESUMED, ResourceKind.RUN, run_id, is_from_the_start=from_the_start
                )
                uow.commit()
        return self.run(run_id)

    def epoch_page(self, run_id: UUID, limit: int, after: int | None) -> Sequence[RunEpoch]:
        """List epochs of a run; raises RunNotFoundError."""
        with self._new_unit_of_work() as uow:
            uow.runs.get(run_id)
            return uow.runs.epoch_page(run_id, limit, after)

    def score_page(
        self, run_id: UUID, limit: int, after: int | None, structure: str | None
    ) -> Sequence[RunScore]:
        """List scores of a run; raises RunNotFoundError."""
        with self._new_unit_of_work() as uow:
            uow.runs.get(run_id)
            return uow.runs.score_page(run_id, limit, after, structure=structure)

    def _estimate(
        self, uow: UnitOfWork, plan: Sequence[PlannedRun], version: DatasetVersion
    ) -> Estimate:
        networks = {run.config.network.name for run in plan}
        measured = {name: uow.runs.measured_epochs(name) for name in networks}
        seconds = [
            _times(
                run.config.training.max_epochs,
                seconds_per_epoch(
                    run.config, version.facts or {}, measured[run.config.network.name]
                ),
            )
            for run in plan
        ]
        return Estimate(
            epochs=sum(run.config.training.max_epochs for run in plan),
            compute_seconds=None if None in seconds else math.fsum(s for s in seconds if s),
            workers=self._workers(uow),
        )

    def _watched(self, uow: UnitOfWork, rows: Sequence[Experiment]) -> list[WatchedExperiment]:
        tallies = uow.experiments.tallies([row.id for row in rows])
        workers = self._workers(uow)
        return [
            WatchedExperiment(experiment=row, tally=tallies.get(row.id, NO_RUNS), workers=workers)
            for row in rows
        ]

    def _workers(self, uow: UnitOfWork) -> int:
        return len(uow.workers.seen_within(self._worker_silent_seconds, QueueName.TRAINING))


def _add(
    uow: UnitOfWork, request: ExperimentRequest, plan: Sequence[PlannedRun], work: WorkRequest
) -> Experiment:
    experiment = Experiment(
        kind=request.question.kind,
        name=request.name,
        dataset_version_id=request.dataset_version_id,
        request=request.asked,
        correlation_id=work.correlation_id,
    )
    uow.experiments.add(experiment)
    runs = [
        Run(
            experiment_id=experiment.id,
            position=position,
            label=run.label,
            seed=run.seed,
            config=run.config.to_dict(),
            max_epochs=run.config.training.max_epochs,
            correlation_id=work.correlation_id,
            max_attempts=work.max_attempts,
        )
        for position, run in enumerate(plan)
    ]
    uow.runs.add_all(runs)
    for run in runs:
        uow.enqueue(TaskName.RUN_TRAIN, run.id)
    return experiment


def _watched_runs(uow: UnitOfWork, runs: Sequence[Run]) -> list[WatchedRun]:
    positions = uow.leases.queue_positions(TaskName.RUN_TRAIN, runs)
    return [WatchedRun(run=run, queue_position=positions.get(run.id)) for run in runs]


def _outcome(run: Run) -> RunOutcome:
    dice = {
        name: math.nan if value is None else value
        for name, value in (run.validation_dice or {}).items()
    }
    return RunOutcome(
        label=run.label,
        seed=run.seed,
        validation_loss=math.nan if run.validation_loss is None else run.validation_loss,
        validation_dice=dice,
        epochs=run.epochs,
        failure=None if run.state is JobState.SUCCEEDED else run.error_code,
    )


def _times(epochs: int, seconds: float | None) -> float | None:
    return None if seconds is None else epochs * seconds
