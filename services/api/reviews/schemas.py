"""Reviews as the API takes and shows them."""

import datetime as dt
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Discriminator, FailFast, Field, Tag, model_validator
from pydantic.config import JsonDict

from ml.grading import Grade
from services.api.reviews.service import CountedReview, GradedRange, PostedReview
from services.api.texts import Comment, ReaderName, ShortText
from services.core.tables.reviews import ReviewGrade

MAX_GRADES = 5_000
"""Grades in one request: above a thousand slices of four structures, each slice by itself; they are
read on the event loop, in 40 ms."""

SliceNumber = Annotated[int, Field(ge=1, le=100_000)]


class ReviewTag(StrEnum):
    """Why a structure was not acceptable as it was drawn."""

    MISSING_SLICES = "missing_slices"
    """It ends too early, or a slice in between shows nothing of it."""
    EXTRA_SLICES = "extra_slices"
    """It goes on beyond its end."""
    BOUNDARY_TOO_LARGE = "boundary_too_large"
    BOUNDARY_TOO_SMALL = "boundary_too_small"
    WRONG_ORGAN = "wrong_organ"
    """Another organ was taken for it."""
    ARTEFACT = "artefact"
    """Metal, contrast or motion led it astray."""
    HALLUCINATED = "hallucinated"
    """It was drawn where there is none."""
    OTHER = "other"
    """The comment tells."""


_REQUEST_EXAMPLE: JsonDict = {
    "reviewer": "Dr. A",
    "grades": [
        {"structure": "Bladder", "first_slice": 1, "last_slice": 150, "grade": "acceptable"},
        {
            "structure": "CTV-UV",
            "slice_number": 71,
            "grade": "minor_revision",
            "tags": ["boundary_too_small"],
        },
    ],
    "minutes": 6.5,
    "comment": "Cervix cut short at the lower end.",
}

_EXAMPLE: JsonDict = {
    "id": "0b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11",
    "contour_job_id": "2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11",
    "reviewer": "Dr. A",
    "minutes": 6.5,
    "comment": "Cervix cut short at the lower end.",
    "created_at": "2026-11-24T09:30:00Z",
    "superseded_at": None,
    "graded_slices": 151,
    "counts": {
        "Bladder": {
            "acceptable": 150,
            "minor_revision": 0,
            "major_revision": 0,
            "unacceptable": 0,
        },
        "CTV-UV": {"acceptable": 0, "minor_revision": 1, "major_revision": 0, "unacceptable": 0},
    },
    "links": {
        "self": "/v1/reviews/0b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11",
        "contour_job": "/v1/contour-jobs/2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11",
    },
}


_GRADED_EXAMPLE: JsonDict = {
    **_EXAMPLE,
    "grades": [
        {
            "structure": "CTV-UV",
            "slice_number": 71,
            "grade": "minor_revision",
            "tags": ["boundary_too_small"],
        }
    ],
}


class _GradeRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    structure: ShortText = Field(description="As the job names it.", examples=["Bladder"])
    grade: Grade
    tags: list[ReviewTag] = Field(default=[], max_length=len(ReviewTag), description="Reasons.")

    def _range(self, first_slice: int, last_slice: int) -> GradedRange:
        return GradedRange(
            structure=self.structure,
            first_slice=first_slice,
            last_slice=last_slice,
            grade=self.grade,
            tags=tuple(dict.fromkeys(tag.value for tag in self.tags)),
        )


class SliceGradeRequest(_GradeRequest):
    """The grade of a structure in one slice."""

    slice_number: SliceNumber = Field(
        description="From 1, in the series' order from one end to the other."
    )

    def range(self) -> GradedRange:
        """Return the one slice that is graded."""
        return self._range(self.slice_number, self.slice_number)


class RangeGradeRequest(_GradeRequest):
    """The grade of a structure in every slice from the first to the last."""

    first_slice: SliceNumber
    last_slice: SliceNumber

    @model_validator(mode="after")
    def _runs_forwards(self) -> Self:
        if self.first_slice > self.last_slice:
            raise ValueError("first_slice must not lie behind last_slice")
        return self

    def range(self) -> GradedRange:
        """Return the slices that are graded."""
        return self._range(self.first_slice, self.last_slice)


def _form(grade: object) -> str:
    """Tell the form of a grade: two models without a check of their own are read fastest."""
    return "range" if isinstance(grade, dict) and "first_slice" in grade else "slice"


GradeRequest = Annotated[
    Annotated[SliceGradeRequest, Tag("slice")] | Annotated[RangeGradeRequest, Tag("range")],
    Discriminator(_form),
]


class ReviewRequest(BaseModel):
    """What a reader says of a job's contours."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_REQUEST_EXAMPLE]})

    reviewer: ReaderName
    grades: Annotated[list[GradeRequest], FailFast()] = Field(min_length=1, max_length=MAX_GRADES)
    minutes: float | None = Field(
        default=None, ge=0, le=10_000, description="Spent on the review and its corrections."
    )
    comment: Comment | None = None

    def review(self) -> PostedReview:
        """Return the review in the words of the domain."""
        return PostedReview(
            reviewer=self.reviewer,
            minutes=self.minutes,
            comment=self.comment,
            grades=tuple(grade.range() for grade in self.grades),
        )


class GradeCounts(BaseModel):
    """How often each grade was given."""

    acceptable: int
    minor_revision: int
    major_revision: int
    unacceptable: int


class ReviewLinks(BaseModel):
    """Where to go from a review."""

    self: str
    contour_job: str


class ReviewResponse(BaseModel):
    """A review."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    contour_job_id: UUID
    reviewer: str
    minutes: float | None
    comment: str | None
    created_at: dt.datetime
    superseded_at: dt.datetime | None = Field(
        description="When the same reader reviewed the job again; such a review counts no more."
    )
    graded_slices: int = Field(description="Over all structures.")
    counts: dict[str, GradeCounts] = Field(description="By structure.")
    links: ReviewLinks

    @classmethod
    def of(cls, counted: CountedReview) -> Self:
        """Show a row."""
        return cls.model_validate(_values(counted))


class GradeResponse(BaseModel):
    """The grade of one structure in one slice."""

    structure: str
    slice_number: int
    grade: Grade
    tags: list[str]


class ReviewWithGradesResponse(ReviewResponse):
    """A review with every grade."""

    model_config = ConfigDict(json_schema_extra={"examples": [_GRADED_EXAMPLE]})

    grades: list[GradeResponse]

    @classmethod
    def of_graded(cls, counted: CountedReview, grades: Sequence[ReviewGrade]) -> Self:
        """Show a row with its grades."""
        shown = [
            {
                "structure": grade.structure,
                "slice_number": grade.slice_number,
                "grade": grade.grade,
                "tags": grade.tags,
            }
            for grade in grades
        ]
        return cls.model_validate(_values(counted) | {"grades": shown})


class ReviewPage(BaseModel):
    """A page of reviews, newest first."""

    items: list[ReviewResponse]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


def _values(counted: CountedReview) -> dict[str, Any]:  # Any: fields of many types
    review = counted.review
    counts = {
        tally.structure: {grade.value: getattr(tally, grade.value) for grade in Grade}
        for tally in counted.tallies
    }
    columns = ("id", "reviewer", "minutes", "comment", "created_at", "superseded_at")
    return {name: getattr(review, name) for name in columns} | {
        "contour_job_id": review.job_id,
        "graded_slices": sum(sum(given.values()) for given in counts.values()),
        "counts": counts,
        "links": ReviewLinks(
            self=f"/v1/reviews/{review.id}", contour_job=f"/v1/contour-jobs/{review.job_id}"
        ),
    }
