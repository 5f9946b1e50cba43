"""What every resource that a worker works on shows of the work."""

import datetime as dt
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from services.core.actor import Role
from services.core.errors import (
    JobCancelledError,
    JobFailedError,
    JobNotFinishedError,
    ReaderNameTakenError,
    ResultPurgedError,
)
from services.core.lifecycle import JobStage, JobState
from services.core.tables.contouring import ContourJob
from services.core.tables.leased import Leased
from services.core.unit_of_work import UnitOfWork


class WorkErrorResponse(BaseModel):
    """Why the work failed."""

    code: str
    detail: str
    context: dict[str, Any]  # Any: nested json values


class WorkResponse(BaseModel):
    """Work as a worker last reported it."""

    id: UUID
    state: JobState
    stage: JobStage
    progress: float = Field(description="From 0 to 1 over the whole work.")
    cancel_requested: bool
    attempt: int = Field(description="Starts so far.")
    max_attempts: int
    created_at: dt.datetime
    started_at: dt.datetime | None = Field(description="Of the latest start.")
    finished_at: dt.datetime | None
    error: WorkErrorResponse | None
    correlation_id: str = Field(description="Of the request that asked for it.")


def work_values(row: Leased) -> dict[str, Any]:  # Any: fields of many types
    """Return the fields of WorkResponse."""
    names = WorkResponse.model_fields.keys() - {"error"}
    error = None
    if row.error_code is not None:
        error = WorkErrorResponse(
            code=row.error_code, detail=row.error_detail or "", context=row.error_context or {}
        )
    return {name: getattr(row, name) for name in names} | {"error": error}


RESULT_CODES = (
    "contour_job_not_found",
    "job_not_finished",
    "job_failed",
    "job_cancelled",
    "result_purged",
)
"""Codes of every route that needs the result of a contour job."""


def check_reader(uow: UnitOfWork, reviewer: str) -> None:
    """Return if the actor may sign with a reader's name, which is its own from then on.

    An administrator signs for anybody, as when reviews are brought in from elsewhere.

    Raises:
        ReaderNameTakenError: the name is another client's.
    """
    if uow.actor.role is Role.REVIEWER and not uow.reader_names.claim(reviewer, uow.actor.id):
        raise ReaderNameTakenError(reviewer)


def check_has_result(job: ContourJob) -> None:
    """Return if the job has a result that was not removed.

    Raises:
        JobNotFinishedError: there is no result yet.
        JobFailedError: there will be none.
        JobCancelledError: there will be none.
        ResultPurgedError: there was one.
    """
    if job.state is JobState.FAILED:
        raise JobFailedError(job.id, job.error_code, job.error_detail)
    if job.state is JobState.CANCELLED:
        raise JobCancelledError(job.id)
    if job.state is not JobState.SUCCEEDED:
        raise JobNotFinishedError(job.id, job.state.value)
    if job.purged_at is not None:
        raise ResultPurgedError(job.id)
