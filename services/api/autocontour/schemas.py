"""What /v1/autocontour answers."""

from typing import Self

from pydantic import BaseModel

from services.api.autocontour.service import Autocontouring
from services.api.contour_jobs.schemas import ContourJobResponse
from services.api.series.schemas import PostedSeriesResponse


class AutocontourResponse(BaseModel):
    """The job, and the series it contours."""

    job: ContourJobResponse
    series: PostedSeriesResponse

    @classmethod
    def of(cls, made: Autocontouring) -> Self:
        """Show what one upload made."""
        return cls(
            job=ContourJobResponse.of(made.watched),
            series=PostedSeriesResponse.of_posted(made.posted),
        )
