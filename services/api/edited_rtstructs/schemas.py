"""Edited RTSTRUCTs as the API shows them."""

import datetime as dt
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.api.edited_rtstructs.service import WatchedEdit
from services.api.work import WorkResponse, work_values

_EXAMPLE: JsonDict = {
    "id": "5d1f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11",
    "contour_job_id": "2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11",
    "review_id": None,
    "reviewer": "Dr. A",
    "content_sha256": "9f2b5d0b3f7c5b1d2e8c3a4f6b7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "byte_count": 812344,
    "state": "succeeded",
    "stage": "done",
    "progress": 1.0,
    "queue_position": None,
    "cancel_requested": False,
    "attempt": 1,
    "max_attempts": 3,
    "created_at": "2026-11-24T09:31:00Z",
    "started_at": "2026-11-24T09:31:00Z",
    "finished_at": "2026-11-24T09:31:04Z",
    "purged_at": None,
    "error": None,
    "correlation_id": "0f8fad5bd9cb469fa16570867728950e",
    "scores": {
        "CTV-UV": {
            "dice": 0.947,
            "hd95_mm": 5.1,
            "assd_mm": 0.8,
            "surface_dice_2mm": 0.91,
            "added_path_length_mm": 412.1,
            "total_path_length_mm": 3920.4,
            "relative_added_path": 0.105,
            "edited_slices": 9,
            "slices": 41,
            "found_ml": 148.0,
            "edited_ml": 156.2,
            "is_only_found": False,
            "is_only_edited": False,
        }
    },
    "warnings": [
        {
            "code": "region_ignored",
            "structure": None,
            "message": (
                "A region means none of the structures, or may lie in another frame of reference."
            ),
            "facts": {"region": "PTV 45"},
        }
    ],
    "links": {
        "self": "/v1/edited-rtstructs/5d1f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11",
        "contour_job": "/v1/contour-jobs/2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11",
        "review": None,
        "rtstruct": "/v1/edited-rtstructs/5d1f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11/rtstruct",
    },
}


class EditScoreResponse(BaseModel):
    """How far a structure was edited; three-dimensional, on the CT's own grid."""

    dice: float | None
    hd95_mm: float | None = Field(description="Null where a side is empty.")
    assd_mm: float | None = Field(description="Null where a side is empty.")
    surface_dice_2mm: float | None
    added_path_length_mm: float = Field(description="Of the edited contours, what was drawn anew.")
    total_path_length_mm: float = Field(description="Of the edited contours.")
    relative_added_path: float | None = Field(description="Added of the total.")
    edited_slices: int
    slices: int = Field(description="That show the structure before or after.")
    found_ml: float
    edited_ml: float
    is_only_found: bool = Field(description="The reader removed all of it: distances are infinite.")
    is_only_edited: bool = Field(description="The job had none of it: distances are infinite.")


class EditWarningResponse(BaseModel):
    """What the comparison left out or assumed."""

    code: str = Field(
        description=(
            "region_ignored, structure_not_sent, or of contours contours_orphans, "
            "contours_beyond_ends, contours_beyond_edges, contours_without_area, "
            "contours_other_planes, contours_between_slices."
        )
    )
    structure: str | None
    message: str
    facts: dict[str, Any]  # Any: nested json values


class EditedRtstructLinks(BaseModel):
    """Where to go from an edited RTSTRUCT."""

    self: str
    contour_job: str
    review: str | None
    rtstruct: str | None = Field(description="Null once it was removed.")


class EditedRtstructResponse(WorkResponse):
    """A job's RTSTRUCT as a reader corrected it, compared with the original."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    contour_job_id: UUID
    review_id: UUID | None
    reviewer: str
    content_sha256: str
    byte_count: int
    queue_position: int | None = Field(description="Queued before it; null once it started.")
    purged_at: dt.datetime | None = Field(description="When its file was removed.")
    scores: dict[str, EditScoreResponse] | None = Field(description="By structure.")
    warnings: list[EditWarningResponse]
    links: EditedRtstructLinks

    @classmethod
    def of(cls, watched: WatchedEdit) -> Self:
        """Show a row."""
        row = watched.row
        columns = ("review_id", "reviewer", "content_sha256", "byte_count", "purged_at")
        found = row.scores or {}
        return cls.model_validate(
            {
                **work_values(row),
                **{name: getattr(row, name) for name in columns},
                "contour_job_id": row.job_id,
                "queue_position": watched.queue_position,
                "scores": found.get("structures"),
                "warnings": found.get("warnings", []),
                "links": _links(watched),
            }
        )


class EditedRtstructPage(BaseModel):
    """A page of edited RTSTRUCTs, newest first."""

    items: list[EditedRtstructResponse]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


def _links(watched: WatchedEdit) -> EditedRtstructLinks:
    row = watched.row
    path = f"/v1/edited-rtstructs/{row.id}"
    return EditedRtstructLinks(
        self=path,
        contour_job=f"/v1/contour-jobs/{row.job_id}",
        review=None if row.review_id is None else f"/v1/reviews/{row.review_id}",
        rtstruct=f"{path}/rtstruct" if row.purged_at is None else None,
    )
