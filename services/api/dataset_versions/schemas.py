"""Dataset versions and their cases as the API shows them."""

import datetime as dt
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.api.mappings import MappingBody
from services.api.work import WorkResponse, work_values
from services.core.lifecycle import CasePart, CaseStatus
from services.core.tables.datasets import DatasetCase, DatasetVersion

MAX_SEED = 2**32 - 1
MAX_SHARE = 1_000_000
DEFAULT_OVERLAP_LIMIT = 0.05
"""As of ml.data.importing.settings, which the API does not import."""


def _some(proportions: list[int]) -> list[int]:
    if not any(proportions):
        raise ValueError("one of the parts must get patients")
    return proportions


class SplitRequest(BaseModel):
    """How patients are dealt to the parts."""

    model_config = ConfigDict(extra="forbid")

    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    proportions: Annotated[
        list[Annotated[int, Field(ge=0, le=MAX_SHARE)]],
        Field(
            min_length=3,
            max_length=3,
            description="Of training, validation and test patients; the default is the paper's.",
        ),
        AfterValidator(_some),
    ] = [111, 30, 15]
    keep_previous: bool = Field(
        default=True,
        description="Leave every patient in the part it was last in, and deal the new ones alone.",
    )


class DatasetVersionRequest(BaseModel):
    """How the sources are to be read."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"split": {"seed": 1}, "allow_missing": True}]},
    )

    split: SplitRequest = SplitRequest()
    allow_missing: bool = Field(
        default=False, description="Accept cases that lack structures, or have empty ones."
    )
    allow_overlap: bool = Field(
        default=False, description="Accept any overlap; the structures' priority decides."
    )
    allow_orphans: bool = Field(
        default=False, description="Place contours by their planes that refer to other images."
    )
    overlap_limit: Annotated[float, Field(ge=0, le=1)] = Field(
        default=DEFAULT_OVERLAP_LIMIT,
        description="Largest share of the smaller structure that may lie in another.",
    )
    mapping: MappingBody | None = Field(
        default=None, description="For this version alone; the dataset's own where none is given."
    )

    def options(self) -> dict[str, Any]:  # Any: nested json values
        """Return what a version's request holds besides sources and mapping."""
        return self.model_dump(mode="json", exclude={"mapping"})


_ID = "0a9b5d4e-7a2f-4c7e-8f52-8a1d6c3b9e21"
_DATASET_ID = "6f1c8f64-19a5-4a7a-9d3f-3c1f4b7d2f10"
_PATH = f"/v1/dataset-versions/{_ID}"
_CASE: JsonDict = {
    "position": 0,
    "name": "clinic-a/2025/p1/rs.dcm",
    "status": "imported",
    "case_id": "case-1f0c9e2ab377",
    "patient": "patient-7d1b20c4ee51",
    "part": "training",
    "code": None,
    "message": None,
    "facts": {"slices": 150, "volumes_ml": {"Bladder": 201.4}},
    "notes": [],
    "unmatched_names": ["External"],
}
_EXAMPLE: JsonDict = {
    "id": _ID,
    "dataset_id": _DATASET_ID,
    "number": 2,
    "state": "succeeded",
    "stage": "done",
    "progress": 1.0,
    "cancel_requested": False,
    "attempt": 1,
    "max_attempts": 3,
    "created_at": "2026-11-24T08:31:00Z",
    "started_at": "2026-11-24T08:31:01Z",
    "finished_at": "2026-11-24T08:52:10Z",
    "purged_at": None,
    "error": None,
    "request": {
        "sources": [
            {
                "id": "9d1f2f5e-6a35-4a54-8a55-0d6f2a1b7c33",
                "kind": "folder",
                "content": "clinic-a/2025",
            }
        ],
        "mapping": {"ignore": [], "patient_pattern": None, "structures": {}, "labels": {}},
        "split": {"seed": 0, "proportions": [111, 30, 15], "keep_previous": True},
        "allow_missing": False,
        "allow_overlap": False,
        "allow_orphans": False,
        "overlap_limit": 0.05,
    },
    "structure_set": "cervix",
    "content_sha256": "9f2b5d0b3f7c5b1d2e8c3a4f6b7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "facts": {},
    "case_count": 156,
    "refused_count": 3,
    "correlation_id": "0f8fad5bd9cb469fa16570867728950e",
    "links": {
        "self": _PATH,
        "dataset": f"/v1/datasets/{_DATASET_ID}",
        "cases": f"{_PATH}/cases",
        "cases_csv": f"{_PATH}/cases.csv",
        "cancel": None,
    },
}


class DatasetVersionLinks(BaseModel):
    """Where to go from a version."""

    self: str
    dataset: str
    cases: str
    cases_csv: str
    cancel: str | None = Field(description="Null once the work ended.")


class DatasetVersionResponse(WorkResponse):
    """The cases of a dataset as they were read once."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    dataset_id: UUID
    number: int = Field(description="From 1, in the dataset.")
    request: dict[str, Any] = Field(  # Any: nested json values
        description="Everything it was made from: sources in order, mapping, split, what is allowed"
    )
    structure_set: str
    content_sha256: str | None = Field(
        description="Over cases, structure set and split: equal for equal content."
    )
    facts: dict[str, Any] | None = Field(  # Any: nested json values
        description="Patients, cases and slices of every part; cases of every structure; what is "
        "lacking."
    )
    case_count: int | None
    refused_count: int | None
    purged_at: dt.datetime | None = Field(description="When its files were removed.")
    links: DatasetVersionLinks

    @classmethod
    def of(cls, version: DatasetVersion) -> Self:
        """Show a row."""
        path = f"/v1/dataset-versions/{version.id}"
        links = DatasetVersionLinks(
            self=path,
            dataset=f"/v1/datasets/{version.dataset_id}",
            cases=f"{path}/cases",
            cases_csv=f"{path}/cases.csv",
            cancel=None if version.state.is_terminal else f"{path}/cancel",
        )
        columns = cls.model_fields.keys() - WorkResponse.model_fields.keys() - {"links"}
        return cls.model_validate(
            {
                **work_values(version),
                **{name: getattr(version, name) for name in columns},
                "links": links,
            }
        )


class DatasetVersionPage(BaseModel):
    """A page of versions, newest first."""

    items: list[DatasetVersionResponse]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


class DatasetCaseResponse(BaseModel):
    """What became of one candidate."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CASE]})

    position: int = Field(description="In the order of reading, from 0.")
    name: str = Field(description="Where it was found, as the sender named it.")
    status: CaseStatus
    case_id: str | None
    patient: str | None = Field(description="A pseudonym.")
    part: CasePart | None
    code: str | None = Field(description="Why it was refused.")
    message: str | None
    facts: dict[str, Any] = Field(  # Any: nested json values
        description="Of the refusal, or slices and volumes of the case."
    )
    notes: list[dict[str, Any]] = Field(  # Any: nested json values
        description="What was assumed of an imported case: code, message, facts."
    )
    unmatched_names: list[str] = Field(description="Names of regions that mean no structure.")

    @classmethod
    def of(cls, case: DatasetCase) -> Self:
        """Show a row."""
        return cls.model_validate({name: getattr(case, name) for name in cls.model_fields})


class DatasetCasePage(BaseModel):
    """A page of cases in the order of reading."""

    items: list[DatasetCaseResponse]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")
