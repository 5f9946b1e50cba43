"""What can be wrong with a request about a known series."""

from uuid import UUID

from services.core.errors import ConflictError


class SeriesInUseError(ConflictError):
    """A job that has not ended needs the series."""

    code = "series_in_use"

    def __init__(self, series_id: UUID, job_id: UUID) -> None:
        super().__init__(
            f"contour job {job_id} still needs series {series_id}",
            series_id=str(series_id),
            contour_job_id=str(job_id),
        )
        self.series_id = series_id
        self.job_id = job_id
