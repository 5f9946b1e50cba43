"""Contour jobs as the API shows them."""

import datetime as dt
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.api.contour_jobs.service import WatchedJob
from services.api.work import WorkResponse, work_values
from services.core.lifecycle import JobState

_EXAMPLE: JsonDict = {
    "id": "2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11",
    "series_id": "7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10",
    "state": "succeeded",
    "stage": "done",
    "progress": 1.0,
    "queue_position": None,
    "cancel_requested": False,
    "attempt": 1,
    "max_attempts": 3,
    "created_at": "2026-11-24T08:30:01Z",
    "started_at": "2026-11-24T08:30:01Z",
    "finished_at": "2026-11-24T08:30:44Z",
    "purged_at": None,
    "seconds": {"read": 0.9, "network": 38.2, "contours": 1.1, "write": 0.4},
    "volumes_ml": {"CTV-N": 312.4, "CTV-UV": 148.0, "Bladder": 221.7, "Rectum": 61.3},
    "warnings": [
        {
            "code": "structure_cut_at_last_slice",
            "structure": "Rectum",
            "message": "Rectum reaches the last slice of the CT.",
            "facts": {"slice": 0},
        }
    ],
    "error": None,
    "model_version": "resaunet-demo",
    "model_version_id": None,
    "settings": {"device": "cuda", "batch_size": 8, "thread_count": None},
    "weights_sha256": "9f2b5d0b3f7c5b1d2e8c3a4f6b7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "software_version": "0.1.0",
    "correlation_id": "0f8fad5bd9cb469fa16570867728950e",
    "links": {
        "self": "/v1/contour-jobs/2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11",
        "series": "/v1/series/7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10",
        "rtstruct": "/v1/contour-jobs/2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11/rtstruct",
        "cancel": None,
    },
}


class ContourJobRequest(BaseModel):
    """Which series to contour."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"series_id": "7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10"}]},
    )

    series_id: UUID


class JobWarningResponse(BaseModel):
    """Something a clinician should look at."""

    code: str
    structure: str | None
    message: str
    facts: dict[str, Any]  # Any: nested json values


class ContourJobLinks(BaseModel):
    """Where to go from a job."""

    self: str
    series: str
    rtstruct: str | None = Field(description="Null while there is none.")
    cancel: str | None = Field(description="Null once the job ended.")


class ContourJobResponse(WorkResponse):
    """A contouring job."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_EXAMPLE]},
        protected_namespaces=(),  # model_version is the domain's word, not pydantic's
    )

    series_id: UUID
    queue_position: int | None = Field(description="Queued jobs before it; null once it started.")
    purged_at: dt.datetime | None = Field(description="When its result was removed.")
    seconds: dict[str, float] | None = Field(description="By stage of the work.")
    volumes_ml: dict[str, float] | None = Field(description="By structure.")
    warnings: list[JobWarningResponse]
    model_version: str | None
    model_version_id: UUID | None = Field(description="Null for packaged or configured weights.")
    weights_sha256: str | None
    settings: dict[str, Any] | None = Field(description="What the network ran on.")  # Any: json
    software_version: str | None
    links: ContourJobLinks

    @classmethod
    def of(cls, watched: WatchedJob) -> Self:
        """Show a row."""
        return cls.model_validate(job_values(watched))


class ContourJobPage(BaseModel):
    """A page of jobs, newest first."""

    items: list[ContourJobResponse]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


_COMPUTED = WorkResponse.model_fields.keys() | {"queue_position", "warnings", "links"}


def job_values(watched: WatchedJob) -> dict[str, Any]:  # Any: fields of many types
    """Return the fields that every view of a job shows."""
    job = watched.job
    path = f"/v1/contour-jobs/{job.id}"
    has_result = job.state is JobState.SUCCEEDED and job.purged_at is None
    links = ContourJobLinks(
        self=path,
        series=f"/v1/series/{job.series_id}",
        rtstruct=f"{path}/rtstruct" if has_result else None,
        cancel=None if job.state.is_terminal else f"{path}/cancel",
    )
    columns = ContourJobResponse.model_fields.keys() - _COMPUTED
    return {
        **work_values(job),
        **{name: getattr(job, name) for name in columns},
        "queue_position": watched.queue_position,
        "warnings": job.warnings,
        "links": links,
    }
