"""Routes of reviews, under /v1/contour-jobs/{id}/reviews and /v1/reviews."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from services.api.access.roles import allow
from services.api.dependencies import DependenciesDep, WorkRequestDep
from services.api.paging import DEFAULT_PAGE_SIZE, Cursor, PageSize, cut_page
from services.api.problems import ROW_CODES, problem_responses
from services.api.reviews.schemas import (
    ReviewPage,
    ReviewRequest,
    ReviewResponse,
    ReviewWithGradesResponse,
)
from services.api.reviews.service import ReviewService
from services.api.work import RESULT_CODES
from services.core.actor import Role

router = APIRouter(prefix="/v1", tags=["reviews"])


def _service(dependencies: DependenciesDep) -> ReviewService:
    return ReviewService(dependencies.new_unit_of_work)


ServiceDep = Annotated[ReviewService, Depends(_service)]


@router.post(
    "/contour-jobs/{job_id}/reviews",
    dependencies=[allow(Role.REVIEWER)],
    summary="Grade the contours of a job",
    status_code=HTTPStatus.CREATED,
    response_description="Kept. Location is the review.",
    responses=problem_responses(
        *RESULT_CODES,
        "unknown_structure",
        "slice_out_of_range",
        "duplicate_grade",
        "reader_name_taken",
        "idempotency_key_reused",
        *ROW_CODES,
    ),
)
def post_review(
    job_id: UUID,
    body: ReviewRequest,
    request: WorkRequestDep,
    service: ServiceDep,
    response: Response,
) -> ReviewResponse:
    """Keep grades in four levels, by structure and slice or range of slices, with reasons.

    The latest review of a reader counts; earlier ones of the same job stay as a record. Slices
    that are not graded count nowhere.
    """
    counted = service.post(job_id, body.review(), request)
    response.headers["Location"] = f"/v1/reviews/{counted.review.id}"
    return ReviewResponse.of(counted)


@router.get(
    "/contour-jobs/{job_id}/reviews",
    dependencies=[allow(Role.REVIEWER)],
    summary="List the reviews of a contour job",
    responses=problem_responses("contour_job_not_found", *ROW_CODES),
)
def list_reviews(
    job_id: UUID, service: ServiceDep, cursor: Cursor, page_size: PageSize = DEFAULT_PAGE_SIZE
) -> ReviewPage:
    """List all reviews with their counts, newest first, superseded ones included."""
    rows = service.page(job_id, page_size + 1, cursor)
    items, next_cursor = cut_page(rows, page_size, lambda counted: counted.review)
    return ReviewPage(items=[ReviewResponse.of(row) for row in items], next_cursor=next_cursor)


@router.get(
    "/reviews/{review_id}",
    dependencies=[allow(Role.REVIEWER)],
    summary="Show a review",
    responses=problem_responses("review_not_found", *ROW_CODES),
)
def get_review(review_id: UUID, service: ServiceDep) -> ReviewWithGradesResponse:
    """Show a review with every grade, by structure and slice."""
    return ReviewWithGradesResponse.of_graded(*service.grades(review_id))
