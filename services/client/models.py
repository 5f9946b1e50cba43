"""What the service answers, as far as a caller needs it.

Fields that a model does not name are kept beside the named ones: `model_dump(mode="json")` gives
all that the service said, and a service that says more than this client knows breaks nothing.
"""

import datetime as dt
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Json = dict[str, Any]  # Any: nested json values

ACTIVE_STATES = frozenset({"queued", "running"})


class Resource(BaseModel):
    """Something the service shows."""

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        protected_namespaces=(),  # model_version is the domain's word, not pydantic's
    )


class WorkError(Resource):
    """Why work failed."""

    code: str
    detail: str
    context: Json


class Work(Resource):
    """Something a worker of the service works on."""

    id: UUID
    state: str
    stage: str
    progress: float = Field(description="From 0 to 1.")
    created_at: dt.datetime
    error: WorkError | None

    @property
    def is_over(self) -> bool:
        """Tell whether it will not go on by itself."""
        return self.state not in ACTIVE_STATES


class JobWarning(Resource):
    """Something a clinician should look at."""

    code: str
    structure: str | None
    message: str


class ContourJob(Work):
    """The contouring of a CT series."""

    series_id: UUID
    queue_position: int | None
    volumes_ml: dict[str, float] | None
    warnings: list[JobWarning]
    model_version: str | None


class SkippedFile(Resource):
    """A file that is no CT slice and was left out."""

    name: str
    reason: str


class PostedSeries(Resource):
    """A stored CT series, and what was left out of the upload."""

    id: UUID
    slice_count: int
    skipped_files: list[SkippedFile]


class Submission(Resource):
    """A job, and the series it contours."""

    job: ContourJob
    series: PostedSeries


class Check(Resource):
    """One thing the service needs."""

    ok: bool
    detail: str | None
    """None for who shows no credentials."""


class Health(Resource):
    """Whether a job posted now would be contoured."""

    status: str
    checks: dict[str, Check]

    @property
    def is_ready(self) -> bool:
        """Tell whether every check is well."""
        return self.status == "ready"


class VersionSummary(Resource):
    """A version of a dataset in short."""

    id: UUID
    number: int
    state: str
    case_count: int | None
    refused_count: int | None
    created_at: dt.datetime


class DatasetSummary(Resource):
    """A dataset in a list."""

    id: UUID
    name: str
    last_version: VersionSummary | None


class Dataset(Resource):
    """A dataset with its sources and last versions."""

    id: UUID
    name: str
    mapping: Json
    source_counts: dict[str, int]
    versions: list[VersionSummary] = Field(description="The newest first.")


class AddedCases(Resource):
    """What was found in an upload of cases."""

    ct_images: int
    ct_series: int
    structure_sets: int
    unreadable_files: int
    other_dicom_objects: int
    other_files: int


class AddedSources(Resource):
    """Sources that a request named."""

    sources: list[Json]
    new_count: int


class DatasetVersion(Work):
    """The cases of a dataset as they were read once."""

    dataset_id: UUID
    number: int
    case_count: int | None
    refused_count: int | None
    facts: Json | None


class DatasetCase(Resource):
    """What became of one candidate."""

    position: int
    name: str
    status: str
    case_id: str | None
    part: str | None
    code: str | None
    message: str | None


class Experiment(Resource):
    """A question that training answers, and where it stands."""

    id: UUID
    kind: str
    name: str
    dataset_version_id: UUID
    state: str
    runs: dict[str, int] = Field(description="By state.")
    progress: float
    eta_seconds: float | None
    best_mean_dice: float | None
    created_at: dt.datetime

    @property
    def is_over(self) -> bool:
        """Tell whether every run ended."""
        return self.state != "running"


class Run(Work):
    """One training."""

    experiment_id: UUID
    position: int
    label: str
    seed: int
    epochs: int
    max_epochs: int
    eta_seconds: float | None
    best_mean_dice: float | None
    mean_dice: float | None
    test_dice: float | None


class Epoch(Resource):
    """What an epoch of a run came to."""

    run_id: UUID
    epoch: int
    training_loss: float
    validation_loss: float | None
    mean_dice: float | None
    seconds: float


class PlannedRun(Resource):
    """A run that would be queued."""

    label: str
    seed: int


class Estimate(Resource):
    """How long an experiment may take."""

    epochs: int
    workers: int
    wall_seconds: float | None


class Plan(Resource):
    """What an experiment would be; nothing was stored."""

    runs: list[PlannedRun]
    estimate: Estimate


class Place(Resource):
    """A configuration's place on the leaderboard."""

    place: int
    label: str
    mean_dice: float | None
    spread: float | None
    test_dice: float | None
    succeeded: int
    failed: int
    unfinished: int
    best_run_id: UUID | None


class Leaderboard(Resource):
    """Configurations in order of validation Dice."""

    places: list[Place]


class ReportLinks(Resource):
    """Where the parts of a report are."""

    experiments: list[str]
    files: dict[str, str]


class ExperimentReport(Work):
    """Tables, figures and statistics over the runs of experiments."""

    title: str
    links: ReportLinks


class ModelVersion(Work):
    """Weights that may contour, once `state` is succeeded."""

    name: str
    origin: str
    run_id: UUID | None
    weights_sha256: str
    aliases: list[str]
    retired_at: dt.datetime | None


class ModelAlias(Resource):
    """What an alias means now; None is the weights the service came with, or no shadow."""

    alias: str
    model_version_id: UUID | None
    revision: int


class ModelAliases(Resource):
    """Every alias."""

    items: list[ModelAlias]


class Review(Resource):
    """What a reader said of a job's contours."""

    id: UUID
    contour_job_id: UUID
    reviewer: str
    graded_slices: int
    counts: dict[str, dict[str, int]] = Field(description="By structure and grade.")


class EditedRtstruct(Work):
    """A job's RTSTRUCT as a reader corrected it, compared with the original."""

    contour_job_id: UUID
    reviewer: str
    scores: dict[str, Json] | None = Field(description="By structure.")


class AcceptabilityRow(Resource):
    """What readers said of a structure."""

    structure: str
    graded_slices: int
    percentages: dict[str, float] = Field(description="By grade.")
    acceptability: float = Field(description="Percent that needs at most a minor revision.")


class AcceptabilityMean(Resource):
    """The mean over structures."""

    percentages: dict[str, float]
    acceptability: float


class AcceptabilityGroup(Resource):
    """One table of grades."""

    key: dict[str, str | None]
    structures: list[AcceptabilityRow]
    mean: AcceptabilityMean
    graded_slices: int


class Acceptability(Resource):
    """What readers said of contours."""

    group_by: list[str]
    groups: list[AcceptabilityGroup]


class DriftWarnings(Resource):
    """Warnings of jobs."""

    per_job: float


class DriftGroup(Resource):
    """How the jobs of a month, or of some weights, fared."""

    group: str | None
    jobs: int
    warnings: DriftWarnings
    acceptability: AcceptabilityGroup | None


class Drift(Resource):
    """How contours fared, group by group."""

    by: str
    groups: list[DriftGroup]
