"""Runs, their epochs and their scores as the API shows them."""

import datetime as dt
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.api.experiments.service import WatchedRun
from services.api.work import WorkResponse, work_values
from services.core.lifecycle import JobState
from services.core.tables.experiments import RunScore


class RunLinks(BaseModel):
    """Where to go from a run."""

    self: str
    experiment: str
    epochs: str
    scores: str
    cancel: str | None = Field(description="Null once it ended.")
    resume: str | None = Field(description="Null unless it failed or was cancelled.")


class RunResponse(WorkResponse):
    """One training."""

    experiment_id: UUID
    position: int
    label: str
    seed: int
    config: dict[str, Any]  # Any: nested json values
    queue_position: int | None = Field(description="Queued runs before it; null once it started.")
    epochs: int = Field(description="Finished so far.")
    max_epochs: int
    training_seconds: float = Field(description="Of the finished epochs.")
    eta_seconds: float | None = Field(
        description="Of training, if it does not end early; null before the first epoch."
    )
    best_mean_dice: float | None = Field(description="Validation Dice of the best epoch so far.")
    validation_loss: float | None = Field(description="Of the weights that were kept.")
    validation_dice: dict[str, float | None] | None = Field(
        description="Of the weights that were kept, by structure."
    )
    mean_dice: float | None = Field(description="Mean of validation_dice; what ranks the run.")
    test_dice: float | None = Field(
        description="Mean over structures and test cases, in 3-D on the CT's own grid; plays no "
        "part in the ranking."
    )
    weights_sha256: str | None
    card: dict[str, Any] | None = Field(  # Any: nested json values
        description="Data, code and library versions."
    )
    device: str | None
    software_version: str | None
    links: RunLinks

    @classmethod
    def of(cls, watched: WatchedRun) -> Self:
        """Show a row."""
        run = watched.run
        path = f"/v1/runs/{run.id}"
        can_resume = run.state in (JobState.FAILED, JobState.CANCELLED)
        eta = None
        if run.state is JobState.RUNNING and run.epochs:
            eta = (run.max_epochs - run.epochs) * run.training_seconds / run.epochs
        computed = {"queue_position", "eta_seconds", "links"} | WorkResponse.model_fields.keys()
        return cls.model_validate(
            work_values(run)
            | {name: getattr(run, name) for name in cls.model_fields.keys() - computed}
            | {
                "queue_position": watched.queue_position,
                "eta_seconds": eta,
                "links": RunLinks(
                    self=path,
                    experiment=f"/v1/experiments/{run.experiment_id}",
                    epochs=f"{path}/epochs",
                    scores=f"{path}/scores",
                    cancel=None if run.state.is_terminal else f"{path}/cancel",
                    resume=f"{path}/resume" if can_resume else None,
                ),
            }
        )


class RunPage(BaseModel):
    """A page of runs, in the order of the plan."""

    items: list[RunResponse]
    next_cursor: int | None = Field(description="`cursor` of the next page; null on the last.")


class EpochResponse(BaseModel):
    """What an epoch came to."""

    model_config = ConfigDict(from_attributes=True)

    run_id: UUID
    epoch: int
    training_loss: float
    validation_loss: float | None = Field(description="Null where it is no finite number.")
    validation_dice: dict[str, float | None]
    mean_dice: float | None
    learning_rate: float
    seconds: float
    is_best: bool
    is_best_dice: bool
    recorded_at: dt.datetime


class EpochPage(BaseModel):
    """A page of epochs, in order."""

    items: list[EpochResponse]
    next_cursor: int | None = Field(description="`cursor` of the next page; null on the last.")


class ScoreResponse(BaseModel):
    """One structure of one case; a distance is null where a mask is empty."""

    model_config = ConfigDict(from_attributes=True)

    part: str
    case: str
    patient: str
    structure: str
    dice: float | None
    prediction_ml: float | None
    reference_ml: float | None
    hd95_mm: float | None
    hd100_mm: float | None
    assd_mm: float | None
    surface_dice_1mm: float | None
    surface_dice_2mm: float | None
    surface_dice_3mm: float | None
    true_positive_slices: int
    false_positive_slices: int
    false_negative_slices: int
    true_negative_slices: int
    superior_end_error_slices: float | None
    inferior_end_error_slices: float | None
    is_missed: bool = Field(description="It exists and was not found; distances are infinite.")
    is_hallucinated: bool = Field(description="It was found and does not exist; likewise.")

    @classmethod
    def of(cls, row: RunScore) -> Self:
        """Show a row; json has no infinity."""
        is_in_truth = row.true_positive_slices + row.false_negative_slices > 0
        is_found = row.true_positive_slices + row.false_positive_slices > 0
        values = {
            name: getattr(row, name)
            for name in cls.model_fields.keys() - {"is_missed", "is_hallucinated"}
        }
        for name, value in values.items():
            if value in (float("inf"), float("-inf")):
                values[name] = None
        return cls(
            **values,
            is_missed=is_in_truth and not is_found,
            is_hallucinated=is_found and not is_in_truth,
        )


class ScorePage(BaseModel):
    """A page of scores."""

    items: list[ScoreResponse]
    next_cursor: int | None = Field(description="`cursor` of the next page; null on the last.")
