"""Why a job cannot be made, or has no RTSTRUCT to give."""

from uuid import UUID

from services.core.errors import ConflictError, ServiceError


class SeriesPurgedError(ServiceError):
    """The files of the series were removed."""

    code = "series_purged"

    def __init__(self, series_id: UUID) -> None:
        super().__init__(
            f"the files of series {series_id} were removed; post the series again",
            series_id=str(series_id),
        )
        self.series_id = series_id


class JobNotFinishedError(ConflictError):
    """The job is queued or running."""

    code = "job_not_finished"

    def __init__(self, job_id: UUID, state: str) -> None:
        super().__init__(
            f"contour job {job_id} is {state}", contour_job_id=str(job_id), state=state
        )
        self.job_id = job_id
        self.state = state


class JobFailedError(ConflictError):
    """The job ended without a result."""

    code = "job_failed"

    def __init__(self, job_id: UUID, error_code: str | None, detail: str | None) -> None:
        super().__init__(
            f"contour job {job_id} failed: {detail}",
            contour_job_id=str(job_id),
            error_code=error_code,
        )
        self.job_id = job_id
        self.error_code = error_code


class JobCancelledError(ConflictError):
    """The job was cancelled before it had a result."""

    code = "job_cancelled"

    def __init__(self, job_id: UUID) -> None:
        super().__init__(f"contour job {job_id} was cancelled", contour_job_id=str(job_id))
        self.job_id = job_id


class ResultPurgedError(ServiceError):
    """The result was removed after its retention time, or with its series."""

    code = "result_purged"

    def __init__(self, job_id: UUID) -> None:
        super().__init__(
            f"the result of contour job {job_id} was removed", contour_job_id=str(job_id)
        )
        self.job_id = job_id
