"""CT series as the API shows them."""

import datetime as dt
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.api.series.service import PostedSeries
from services.core.tables.contouring import Series

_EXAMPLE: JsonDict = {
    "id": "7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10",
    "series_instance_uid": "1.2.826.0.1.3680043.8.498.2",
    "study_instance_uid": "1.2.826.0.1.3680043.8.498.1",
    "frame_of_reference_uid": "1.2.826.0.1.3680043.8.498.3",
    "is_deidentified": False,
    "patient_position": "HFS",
    "slice_count": 150,
    "rows": 512,
    "columns": 512,
    "spacing_mm": [3.0, 0.9766, 0.9766],
    "extent_mm": [450.0, 500.0, 500.0],
    "byte_count": 78900000,
    "created_at": "2026-11-24T08:30:00Z",
    "purged_at": None,
    "links": {
        "self": "/v1/series/7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10",
        "contour_jobs": "/v1/contour-jobs?series_id=7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10",
    },
}

_POSTED_EXAMPLE: JsonDict = {
    **_EXAMPLE,
    "skipped_files": [{"name": "DICOMDIR", "reason": "dicomdir"}],
}


class SeriesLinks(BaseModel):
    """Where to go from a series."""

    self: str
    contour_jobs: str


class SeriesResponse(BaseModel):
    """A stored CT series."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    series_instance_uid: str = Field(description="As the other UIDs, empty once it was removed.")
    study_instance_uid: str
    frame_of_reference_uid: str
    is_deidentified: bool = Field(
        description="Whether it is stored without its patient: the UIDs are then pseudonyms."
    )
    patient_position: str | None = Field(description="DICOM Patient Position, e.g. HFS or FFP.")
    slice_count: int
    rows: int
    columns: int
    spacing_mm: list[float] = Field(description="Between slices, rows and columns.")
    extent_mm: list[float] = Field(description="Along slices, rows and columns.")
    byte_count: int
    created_at: dt.datetime
    purged_at: dt.datetime | None = Field(description="When its files were removed.")
    links: SeriesLinks

    @classmethod
    def of(cls, series: Series) -> Self:
        """Show a row."""
        return cls.model_validate(series_values(series))


class SkippedFileResponse(BaseModel):
    """A file that is no CT slice and was left out."""

    name: str = Field(description="As the sender called it.", examples=["DICOMDIR"])
    reason: str


class PostedSeriesResponse(SeriesResponse):
    """A stored CT series and what was left out of the upload."""

    model_config = ConfigDict(json_schema_extra={"examples": [_POSTED_EXAMPLE]})

    skipped_files: list[SkippedFileResponse]

    @classmethod
    def of_posted(cls, posted: PostedSeries) -> Self:
        """Show what became of an upload."""
        skipped = [
            SkippedFileResponse(name=file.name, reason=file.reason.value) for file in posted.skipped
        ]
        return cls.model_validate(series_values(posted.series) | {"skipped_files": skipped})


class SeriesPage(BaseModel):
    """A page of series, newest first."""

    items: list[SeriesResponse]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


def series_values(series: Series) -> dict[str, Any]:  # Any: fields of many types
    """Return the fields that every view of a series shows."""
    columns = SeriesResponse.model_fields.keys() - {"links"}
    path = f"/v1/series/{series.id}"
    jobs = f"/v1/contour-jobs?series_id={series.id}"
    return {name: getattr(series, name) for name in columns} | {
        "links": SeriesLinks(self=path, contour_jobs=jobs)
    }
