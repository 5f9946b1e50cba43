"""What can be wrong with a request about a known series."""

from uuid import UUID

from services.core.errors import ConflictError


class SeriesInUseError(ConflictError):
    """A job, or the comparison of an edited RTSTRUCT, that has not ended needs the series."""

    code = "series_in_use"

    def __init__(
        self, series_id: UUID, job_id: UUID, edited_rtstruct_id: UUID | None = None
    ) -> None:
        user, facts = f"contour job {job_id}", {"contour_job_id": str(job_id)}
        if edited_rtstruct_id is not None:
            user = f"the comparison of edited RTSTRUCT {edited_rtstruct_id}"
            facts["edited_rtstruct_id"] = str(edited_rtstruct_id)
        super().__init__(
            f"{user} still needs series {series_id}", series_id=str(series_id), **facts
        )
        self.series_id = series_id
        self.job_id = job_id
