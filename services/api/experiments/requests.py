"""What an experiment is asked for with."""

import json
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from ml.config import LossName, NetworkName
from ml.planning.recipes import RECIPES
from services.api.experiments.planning import (
    DEFAULT_AXES,
    DEFAULT_LOSSES,
    DEFAULT_NETWORKS,
    ExperimentQuestion,
)
from services.api.experiments.service import ExperimentRequest
from services.core.lifecycle import ExperimentKind
from services.core.tables.leased import Json

COMPARISON_SEEDS = (0, 1, 2)
"""A comparison without repetitions cannot tell a better network from a luckier start."""

Setting = Annotated[str, Field(max_length=80, pattern=r"^[a-z_]+(\.[a-z_0-9]+)*$")]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
AxisValues = Annotated[list[Any], Field(min_length=1, max_length=50)]  # Any: json values


class BudgetRequest(BaseModel):
    """How long every run may go on."""

    model_config = ConfigDict(extra="forbid")

    max_epochs: PositiveInt | None = Field(default=None, le=10_000)
    max_seconds: PositiveFloat | None = Field(
        default=None,
        description="Of training and validation; the epoch that reaches it is the last.",
    )


class ExperimentRequestBody(BaseModel):
    """A question, and the cases that shall answer it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "kind": "grid_search",
                    "dataset_version_id": "7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10",
                    "recipe": "paper",
                    "budget": {"max_epochs": 30},
                },
                {
                    "kind": "loss_comparison",
                    "dataset_version_id": "7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10",
                    "losses": ["ce", "sce", "dice", "lovasz"],
                    "seeds": [0, 1, 2],
                    "settings": {"training.batch_size": 16},
                },
            ]
        },
    )

    kind: ExperimentKind
    dataset_version_id: UUID
    name: str | None = Field(None, min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")
    recipe: str = Field("lean", json_schema_extra={"enum": list(RECIPES)})
    settings: dict[Setting, Any] = Field(  # Any: json values
        default_factory=dict,
        max_length=60,
        description="Other values of the recipe's settings, by path as in `training.batch_size`.",
    )
    seeds: list[Seed] | None = Field(
        None, min_length=1, max_length=20, description="One; three for comparisons."
    )
    budget: BudgetRequest | None = None
    axes: dict[Setting, AxisValues] | None = Field(
        None,
        min_length=1,
        max_length=8,
        description="Of a grid search; the paper's learning rates and batch sizes without them.",
    )
    losses: list[LossName] | None = Field(
        None, min_length=1, max_length=len(LossName), description="The paper's four."
    )
    networks: list[NetworkName] | None = Field(
        None, min_length=1, max_length=len(NetworkName), description="The paper's four."
    )
    widths: dict[NetworkName, float] | None = Field(
        None, description="Of networks, where they shall differ from the recipe's."
    )
    dry_run: bool = Field(
        default=False, description="Only tell the runs and how long they may take."
    )

    @model_validator(mode="after")
    def _parts_belong_to_the_kind(self) -> Self:
        belongs = {
            "axes": ExperimentKind.GRID_SEARCH,
            "losses": ExperimentKind.LOSS_COMPARISON,
            "networks": ExperimentKind.NETWORK_COMPARISON,
            "widths": ExperimentKind.NETWORK_COMPARISON,
        }
        for name, kind in belongs.items():
            if getattr(self, name) is not None and self.kind is not kind:
                raise ValueError(f"{name} belongs to {kind}")
        if self.recipe not in RECIPES:
            raise ValueError(f"recipe must be one of {', '.join(RECIPES)}")
        for name in ("seeds", "losses", "networks"):
            values = getattr(self, name)
            if values is not None and len(set(values)) < len(values):
                raise ValueError(f"{name} must differ from each other")
        # json as Python reads it may hold NaN and Infinity, which no setting can be
        json.dumps([self.settings, self.axes, self.widths], allow_nan=False)
        return self

    def to_request(self) -> ExperimentRequest:
        """Fill in what was not said."""
        is_comparison = self.kind in (
            ExperimentKind.LOSS_COMPARISON,
            ExperimentKind.NETWORK_COMPARISON,
        )
        settings = self.settings | {
            f"training.{name}": value
            for name, value in (self.budget or BudgetRequest()).model_dump().items()
            if value is not None
        }
        question = ExperimentQuestion(
            kind=self.kind,
            recipe=self.recipe,
            settings=settings,
            seeds=self.seeds or (COMPARISON_SEEDS if is_comparison else (0,)),
            axes=self.axes or DEFAULT_AXES,
            losses=self.losses or DEFAULT_LOSSES,
            networks=self.networks or DEFAULT_NETWORKS,
            widths=self.widths or {},
        )
        return ExperimentRequest(
            name=self.name or self.kind.replace("_", " "),
            dataset_version_id=self.dataset_version_id,
            question=question,
            asked=_asked(question),
        )


def _asked(question: ExperimentQuestion) -> Json:
    asked: Json = {
        "recipe": question.recipe,
        "settings": dict(question.settings),
        "seeds": list(question.seeds),
    }
    match question.kind:
        case ExperimentKind.GRID_SEARCH:
            asked["axes"] = {path: list(values) for path, values in question.axes.items()}
        case ExperimentKind.LOSS_COMPARISON:
            asked["losses"] = list(question.losses)
        case ExperimentKind.NETWORK_COMPARISON:
            asked["networks"] = list(question.networks)
            asked["widths"] = dict(question.widths)
        case ExperimentKind.TRAINING:
            pass
    return asked
