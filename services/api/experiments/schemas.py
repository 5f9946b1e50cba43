"""Experiments as the API shows them."""

import datetime as dt
import math
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, Field

from ml.planning.plan import PlannedRun
from services.api.experiments.service import DryRun, Place, WatchedExperiment
from services.core.lifecycle import ExperimentKind, ExperimentState, JobState


class PlannedRunResponse(BaseModel):
    """A run that would be queued."""

    label: str
    seed: int
    config: dict[str, Any]  # Any: nested json values

    @classmethod
    def of(cls, run: PlannedRun) -> Self:
        """Show a planned run."""
        return cls(label=run.label, seed=run.seed, config=run.config.to_dict())


class EstimateResponse(BaseModel):
    """How long it takes if no run ends early."""

    epochs: int
    compute_seconds: float | None = Field(
        description="Of all runs one after the other, from epochs of the same network, width and "
        "crop that were measured here; null where there are none."
    )
    workers: int = Field(description="Training workers there now, which share the runs.")
    wall_seconds: float | None


class DryRunResponse(BaseModel):
    """What an experiment would be; nothing was stored."""

    runs: list[PlannedRunResponse]
    estimate: EstimateResponse

    @classmethod
    def of(cls, dry_run: DryRun) -> Self:
        """Show a plan."""
        estimate = dry_run.estimate
        seconds = estimate.compute_seconds
        workers = max(1, min(estimate.workers, len(dry_run.plan)))
        return cls(
            runs=[PlannedRunResponse.of(run) for run in dry_run.plan],
            estimate=EstimateResponse(
                epochs=estimate.epochs,
                compute_seconds=seconds,
                workers=estimate.workers,
                wall_seconds=None if seconds is None else seconds / workers,
            ),
        )


class ExperimentLinks(BaseModel):
    """Where to go from an experiment."""

    self: str
    dataset_version: str
    runs: str
    leaderboard: str
    events: str
    scores_csv: str
    epochs_csv: str
    reports: str
    cancel: str | None = Field(description="Null once every run is over.")


class ExperimentResponse(BaseModel):
    """An experiment and where it stands."""

    id: UUID
    kind: ExperimentKind
    name: str
    dataset_version_id: UUID
    state: ExperimentState
    request: dict[str, Any] = Field(  # Any: json values
        description="As it was asked, defaults filled in."
    )
    runs: dict[JobState, int] = Field(description="Runs in every state.")
    progress: float = Field(description="From 0 to 1, in epochs; runs that end early jump to 1.")
    epochs: int = Field(description="Finished, over all runs.")
    eta_seconds: float | None = Field(
        description="If no run ends early, by the mean epoch so far and the workers there now; "
        "null before the first epoch and after the end."
    )
    best_mean_dice: float | None = Field(description="Validation Dice of the best run so far.")
    created_at: dt.datetime
    finished_at: dt.datetime | None
    correlation_id: str
    links: ExperimentLinks

    @classmethod
    def of(cls, watched: WatchedExperiment) -> Self:
        """Show a row and its tally."""
        row, tally = watched.experiment, watched.tally
        path = f"/v1/experiments/{row.id}"
        is_running = row.state is ExperimentState.RUNNING
        share = 1 - tally.remaining_epochs / tally.max_epochs if tally.max_epochs else 1.0
        return cls(
            id=row.id,
            kind=row.kind,
            name=row.name,
            dataset_version_id=row.dataset_version_id,
            state=row.state,
            request=row.request,
            runs=tally.by_state,
            progress=share,
            epochs=tally.epochs,
            eta_seconds=_eta_seconds(watched) if is_running else None,
            best_mean_dice=tally.best_mean_dice,
            created_at=row.created_at,
            finished_at=row.finished_at,
            correlation_id=row.correlation_id,
            links=ExperimentLinks(
                self=path,
                dataset_version=f"/v1/dataset-versions/{row.dataset_version_id}",
                runs=f"{path}/runs",
                leaderboard=f"{path}/leaderboard",
                events=f"{path}/events",
                scores_csv=f"{path}/scores.csv",
                epochs_csv=f"{path}/epochs.csv",
                reports=f"/v1/experiment-reports?experiment_id={row.id}",
                cancel=f"{path}/cancel" if is_running else None,
            ),
        )


class ExperimentPage(BaseModel):
    """A page of experiments, newest first."""

    items: list[ExperimentResponse]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


class PlaceResponse(BaseModel):
    """A configuration's place, over all of its seeds."""

    place: int = Field(description="From 1; what no run succeeded with comes last.")
    label: str
    mean_dice: float | None = Field(description="Validation Dice, mean over seeds and structures.")
    spread: float | None = Field(description="Largest less smallest over seeds.")
    test_dice: float | None = Field(description="Mean over seeds; plays no part in the order.")
    succeeded: int
    failed: int
    unfinished: int
    best_run_id: UUID | None = Field(description="The seed with the best validation Dice.")

    @classmethod
    def of(cls, place: Place) -> Self:
        """Show a place."""
        done = [run for run in place.runs if run.state is JobState.SUCCEEDED]
        tests = [run.test_dice for run in done if run.test_dice is not None]
        best = max(done, key=lambda run: run.mean_dice or 0.0, default=None)
        rank = place.rank
        return cls(
            place=rank.place,
            label=rank.label,
            mean_dice=_finite(rank.mean_dice),
            spread=_finite(rank.spread),
            test_dice=sum(tests) / len(tests) if tests else None,
            succeeded=rank.succeeded,
            failed=rank.failed,
            unfinished=len(place.runs) - rank.succeeded - rank.failed,
            best_run_id=None if best is None else best.id,
        )


class LeaderboardResponse(BaseModel):
    """The configurations of an experiment in order of validation Dice."""

    places: list[PlaceResponse]


def _eta_seconds(watched: WatchedExperiment) -> float | None:
    tally = watched.tally
    if not tally.epochs:
        return None
    workers = max(1, min(watched.workers, tally.runs))
    return tally.remaining_epochs * tally.training_seconds / tally.epochs / workers


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value
