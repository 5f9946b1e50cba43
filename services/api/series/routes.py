"""Routes under /v1/series."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Depends, Response

from services.api.access.roles import allow
from services.api.dependencies import DependenciesDep, IdempotencyKey
from services.api.paging import DEFAULT_PAGE_SIZE, Cursor, PageSize, cut_page
from services.api.problems import (
    KEY_CODES,
    ROW_CODES,
    STORAGE_CODES,
    UPLOAD_CODES,
    problem_responses,
)
from services.api.removal import DELETION_RESPONSES, DeletionResponse, answer_deletion
from services.api.series.checking import check_upload
from services.api.series.schemas import PostedSeriesResponse, SeriesPage, SeriesResponse
from services.api.series.service import SeriesService
from services.api.uploads.http import UPLOAD_REQUEST_BODY, UploadBody
from services.api.uploads.stream import received_upload
from services.core.actor import Role

router = APIRouter(prefix="/v1/series", tags=["series"])


def _service(dependencies: DependenciesDep) -> SeriesService:
    return SeriesService(dependencies.new_unit_of_work, dependencies.storage)


ServiceDep = Annotated[SeriesService, Depends(_service)]


@router.post(
    "",
    dependencies=[allow(Role.SUBMITTER)],
    summary="Post a CT series",
    status_code=HTTPStatus.CREATED,
    response_description="Stored. Location is the series.",
    responses={
        200: {"model": PostedSeriesResponse, "description": "The same content was there before."},
        **problem_responses(
            *UPLOAD_CODES,
            *STORAGE_CODES,
            "idempotency_key_reused",
            *KEY_CODES,
            *ROW_CODES,
        ),
    },
    openapi_extra=UPLOAD_REQUEST_BODY,
)
async def post_series(
    body: UploadBody,
    dependencies: DependenciesDep,
    service: ServiceDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> PostedSeriesResponse:
    """Store one CT series, all of it or nothing; the same content again is the same series."""
    async with received_upload(body, dependencies.storage, dependencies.upload_limits) as upload:
        checked = await dependencies.bounded.run(
            dependencies.order(upload.byte_count), check_upload, upload, dependencies.deidentifier
        )
        posted = await to_thread.run_sync(
            service.post, checked, idempotency_key, limiter=dependencies.validation_slots
        )
    response.status_code = HTTPStatus.CREATED if posted.is_new else HTTPStatus.OK
    response.headers["Location"] = f"/v1/series/{posted.series.id}"
    return PostedSeriesResponse.of_posted(posted)


@router.get(
    "",
    dependencies=[allow(Role.SUBMITTER, Role.REVIEWER)],
    summary="List CT series",
    responses=problem_responses(*ROW_CODES),
)
def list_series(
    service: ServiceDep, cursor: Cursor, page_size: PageSize = DEFAULT_PAGE_SIZE
) -> SeriesPage:
    """List series, newest first."""
    rows = service.page(page_size + 1, cursor)
    items, next_cursor = cut_page(rows, page_size, lambda series: series)
    return SeriesPage(items=[SeriesResponse.of(row) for row in items], next_cursor=next_cursor)


@router.get(
    "/{series_id}",
    dependencies=[allow(Role.SUBMITTER, Role.REVIEWER)],
    summary="Show a CT series",
    responses=problem_responses("series_not_found", *ROW_CODES),
)
def get_series(series_id: UUID, service: ServiceDep) -> SeriesResponse:
    """Show one series; purged_at says when its files were removed."""
    return SeriesResponse.of(service.get(series_id))


@router.delete(
    "/{series_id}",
    dependencies=[allow(Role.SUBMITTER)],
    summary="Delete a CT series, the results of its jobs and their edits",
    responses={
        **DELETION_RESPONSES,
        **problem_responses("series_not_found", "series_in_use", "series_shared", *ROW_CODES),
    },
)
def delete_series(series_id: UUID, service: ServiceDep, response: Response) -> DeletionResponse:
    """Delete everything that came from the series; again shows the same deletion.

    The results of its jobs, what shadows made of it, the edited RTSTRUCTs sent to them and what
    datasets collected of those go with it, whatever their retention time. Rows stay as a record
    without UIDs, names and texts. `remaining` names versions of datasets that were read before:
    they hold the case under its pseudonym until they are deleted. Posting the series again makes
    a new one. A submitter may delete what nobody else posted, such as the CT of a wrong patient.
    """
    return answer_deletion(service.delete(series_id), response)
