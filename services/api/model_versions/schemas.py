"""Model versions as the API takes and shows them."""

import datetime as dt
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ml.structures import CERVIX
from services.api.model_versions.archive import ModelName
from services.api.model_versions.service import (
    Evaluation,
    Minimum,
    ShownVersion,
    VersionDetails,
)
from services.api.texts import Comment
from services.api.work import WorkResponse, work_values
from services.core.lifecycle import AliasName, JobState, ModelVersionOrigin
from services.core.repositories.shadow_contours import ShadowSummary
from services.core.tables.model_versions import ShadowContour

DEFAULT_CASES = 3
DEFAULT_MARGIN = 0.05
MAX_CASES = 50

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
CaseCount = Annotated[int, Field(ge=1, le=MAX_CASES)]


def _known_structures(values: dict[str, float]) -> dict[str, float]:
    unknown = sorted(values.keys() - set(CERVIX.names))
    if unknown:
        raise ValueError(f"the service contours {', '.join(CERVIX.names)}")
    return values


class MinimumRequest(BaseModel):
    """Dice that a run's test cases must reach, as means over cases."""

    model_config = ConfigDict(extra="forbid")

    mean_dice: Share | None = Field(default=None, description="Mean over structures.")
    structures: Annotated[dict[str, Share], AfterValidator(_known_structures)] = Field(
        default_factory=dict[str, float], max_length=len(CERVIX.names)
    )


class PromotionRequest(BaseModel):
    """Which run to promote, and what it must pass."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "run_id": "7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10",
                    "name": "cervix-2026-11",
                    "minimum": {"mean_dice": 0.8, "structures": {"Bladder": 0.9}},
                }
            ]
        },
    )

    run_id: UUID
    name: ModelName | None = Field(
        None, description="As RTSTRUCTs will say it; made of network, loss and run without one."
    )
    minimum: MinimumRequest = Field(default_factory=MinimumRequest)
    evaluation_cases: CaseCount = Field(
        DEFAULT_CASES, description="Test cases that it and production contour before it may serve."
    )
    margin: Share = Field(
        DEFAULT_MARGIN, description="Mean Dice by which production may be better on them."
    )
    notes: Comment | None = None

    def evaluation(self) -> Evaluation:
        """Return how a worker is to judge it."""
        return Evaluation(
            minimum=Minimum(
                mean_dice=self.minimum.mean_dice, structures=dict(self.minimum.structures)
            ),
            cases=self.evaluation_cases,
            margin=self.margin,
            notes=self.notes,
        )


class ModelVersionLinks(BaseModel):
    """Where to go from a version."""

    self: str
    export: str | None = Field(description="Null while it has no files.")
    retire: str | None = Field(description="Null where it cannot be, or was.")
    shadow_contours: str
    shadow_summary: str


class ModelVersionResponse(WorkResponse):
    """Weights that may contour, once `state` is succeeded."""

    name: str
    origin: ModelVersionOrigin
    run_id: UUID | None
    dataset_version_id: UUID | None = Field(description="Whose test cases it is checked on.")
    request: dict[str, Any] = Field(description="What was asked for.")  # Any: json
    weights_sha256: str
    structure_set: str
    aliases: list[AliasName] = Field(description="That mean it now.")
    retired_at: dt.datetime | None
    purged_at: dt.datetime | None = Field(description="When its files were removed.")
    links: ModelVersionLinks

    @classmethod
    def of(cls, shown: ShownVersion) -> Self:
        """Show a row."""
        return cls.model_validate(_values(shown))


class ModelVersionPage(BaseModel):
    """A page of versions, newest first."""

    items: list[ModelVersionResponse]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


class PromotedRunResponse(BaseModel):
    """The run behind a version."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    experiment_id: UUID
    label: str
    seed: int
    epochs: int
    test_dice: float | None
    mean_dice: float | None = Field(description="On the validation cases.")
    validation_dice: dict[str, float | None] | None


class JudgingDatasetResponse(BaseModel):
    """The dataset version whose test cases a version was checked on."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    dataset_id: UUID
    number: int
    content_sha256: str | None
    case_count: int | None


class ModelVersionDetailsResponse(ModelVersionResponse):
    """A version with everything that is known of it."""

    card: dict[str, Any] | None = Field(  # Any: json
        description="Data, configuration, metrics and library versions; null before the checks."
    )
    checks: dict[str, Any] | None = Field(  # Any: json
        description="By name: `ok` and the values. A failed version keeps those it came to."
    )
    run: PromotedRunResponse | None
    dataset_version: JudgingDatasetResponse | None

    @classmethod
    def of_details(cls, details: VersionDetails) -> Self:
        """Show a row with its sources."""
        version = details.shown.version
        return cls.model_validate(
            _values(details.shown)
            | {
                "card": version.card,
                "checks": version.checks,
                "run": details.sources.run,
                "dataset_version": details.sources.dataset_version,
            }
        )


class ShadowContourResponse(WorkResponse):
    """A job contoured once more by the version."""

    job_id: UUID
    scores: dict[str, Any] | None = Field(  # Any: json
        description="Agreement with what the job released, by structure."
    )
    volumes_ml: dict[str, float] | None
    warnings: list[dict[str, Any]]  # Any: json
    seconds: dict[str, float] | None = Field(description="By stage of the work.")
    weights_sha256: str | None
    software_version: str | None
    purged_at: dt.datetime | None = Field(description="When its contours were removed.")

    @classmethod
    def of(cls, shadow: ShadowContour) -> Self:
        """Show a row."""
        columns = cls.model_fields.keys() - WorkResponse.model_fields.keys()
        values = {name: getattr(shadow, name) for name in columns}
        return cls.model_validate(work_values(shadow) | values)


class ShadowContourPage(BaseModel):
    """A page of shadows, newest first."""

    items: list[ShadowContourResponse]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


class MeanAgreementResponse(BaseModel):
    """How the version agrees with what was released."""

    model_config = ConfigDict(from_attributes=True)

    mean: float | None = Field(description="Over those jobs; null without any.")
    jobs: int = Field(description="Where the measure is a number.")


class ShadowSummaryResponse(BaseModel):
    """What became of all jobs that the version contoured as a shadow."""

    count: int
    states: dict[JobState, int]
    failures: dict[str, int] = Field(description="By code.")
    agreement: dict[str, dict[str, MeanAgreementResponse]] = Field(
        description="By structure and measure."
    )

    @classmethod
    def of(cls, summary: ShadowSummary) -> Self:
        """Show a summary."""
        return cls.model_validate(
            {
                "count": sum(summary.counts.values()),
                "states": summary.counts,
                "failures": summary.failures,
                "agreement": summary.agreement,
            }
        )


_COMPUTED = WorkResponse.model_fields.keys() | {"aliases", "links"}


def _values(shown: ShownVersion) -> dict[str, Any]:  # Any: fields of many types
    version = shown.version
    path = f"/v1/model-versions/{version.id}"
    is_ready = version.state is JobState.SUCCEEDED
    may_retire = is_ready and version.retired_at is None and not shown.aliases
    links = ModelVersionLinks(
        self=path,
        export=f"{path}/export" if is_ready and version.purged_at is None else None,
        retire=f"{path}/retire" if may_retire else None,
        shadow_contours=f"{path}/shadow-contours",
        shadow_summary=f"{path}/shadow-summary",
    )
    columns = ModelVersionResponse.model_fields.keys() - _COMPUTED
    return {
        **work_values(version),
        **{name: getattr(version, name) for name in columns},
        "aliases": list(shown.aliases),
        "links": links,
    }
