"""Routes of edited RTSTRUCTs, under /v1/contour-jobs/{id} and /v1/edited-rtstructs."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import FileResponse

from services.api.access.roles import allow
from services.api.dependencies import DependenciesDep, WorkRequestDep
from services.api.downloads import DICOM_MEDIA_TYPE, IfNoneMatch, download, download_responses
from services.api.edited_rtstructs.checking import check_edit
from services.api.edited_rtstructs.schemas import EditedRtstructPage, EditedRtstructResponse
from services.api.edited_rtstructs.service import EditedRtstructService, EditOrigin, WatchedEdit
from services.api.paging import DEFAULT_PAGE_SIZE, Cursor, PageSize, cut_page
from services.api.problems import (
    FILE_CODES,
    IDENTITY_CODES,
    KEY_CODES,
    ROW_CODES,
    STORAGE_CODES,
    problem_responses,
)
from services.api.removal import DELETION_RESPONSES, DeletionResponse, answer_deletion
from services.api.texts import ReaderName
from services.api.uploads.http import FILE_REQUEST_BODY, UploadBody
from services.api.uploads.stream import received_file
from services.api.work import RESULT_CODES
from services.core.actor import Role
from services.core.lifecycle import JobState

router = APIRouter(prefix="/v1", tags=["reviews"])


def _service(dependencies: DependenciesDep) -> EditedRtstructService:
    return EditedRtstructService(dependencies.new_unit_of_work, dependencies.storage)


def _origin(
    job_id: UUID,
    reviewer: Annotated[ReaderName, Query(description="Who edited it.")],
    review_id: Annotated[UUID | None, Query(description="The reader's review of it.")] = None,
) -> EditOrigin:
    return EditOrigin(job_id=job_id, reviewer=reviewer, review_id=review_id)


ServiceDep = Annotated[EditedRtstructService, Depends(_service)]
OriginDep = Annotated[EditOrigin, Depends(_origin)]


@router.post(
    "/contour-jobs/{job_id}/edited-rtstructs",  # noqa: FAST003  # _origin takes it
    dependencies=[allow(Role.REVIEWER)],
    summary="Send the RTSTRUCT of a job as it was corrected",
    status_code=HTTPStatus.ACCEPTED,
    response_description="Kept, and its comparison queued. Location is the edited RTSTRUCT.",
    responses={
        200: {
            "model": EditedRtstructResponse,
            "description": "The same file of this job was there before.",
        },
        **problem_responses(
            *RESULT_CODES,
            "review_not_found",
            "wrong_review",
            "reader_name_taken",
            "edited_rtstruct_invalid",
            "wrong_frame_of_reference",
            "wrong_series",
            *FILE_CODES,
            *STORAGE_CODES,
            *KEY_CODES,
            "idempotency_key_reused",
            *ROW_CODES,
        ),
    },
    openapi_extra=FILE_REQUEST_BODY,
)
async def post_edited_rtstruct(
    origin: OriginDep,
    body: UploadBody,
    dependencies: DependenciesDep,
    request: WorkRequestDep,
    service: ServiceDep,
    response: Response,
) -> EditedRtstructResponse:
    """Keep an RTSTRUCT and compare it with the job's own, structure by structure.

    Regions are found by the names and synonyms of the structures; further ones are listed and
    left out. The same bytes again are the same edited RTSTRUCT, of whoever sent them first; one
    whose comparison failed is compared again. It keeps the job's result and CT from removal for
    its own retention time.
    """
    deidentifier = await to_thread.run_sync(service.check, origin)
    async with received_file(body, dependencies.storage, dependencies.upload_limits) as file:
        checked = await dependencies.bounded.run(
            dependencies.order(file.byte_count), check_edit, file, deidentifier
        )
        watched, is_queued = await to_thread.run_sync(
            service.post, origin, checked, request, limiter=dependencies.validation_slots
        )
    response.status_code = HTTPStatus.ACCEPTED if is_queued else HTTPStatus.OK
    response.headers["Location"] = f"/v1/edited-rtstructs/{watched.row.id}"
    return EditedRtstructResponse.of(watched)


@router.get(
    "/contour-jobs/{job_id}/edited-rtstructs",
    dependencies=[allow(Role.REVIEWER)],
    summary="List the edited RTSTRUCTs of a contour job",
    responses=problem_responses("contour_job_not_found", *ROW_CODES),
)
def list_edited_rtstructs_of_job(
    job_id: UUID, service: ServiceDep, cursor: Cursor, page_size: PageSize = DEFAULT_PAGE_SIZE
) -> EditedRtstructPage:
    """List what readers made of a job's contours, newest first."""
    return _page(service.page(page_size + 1, cursor, job_id=job_id), page_size)


@router.get(
    "/edited-rtstructs",
    dependencies=[allow(Role.REVIEWER)],
    summary="List edited RTSTRUCTs",
    responses=problem_responses(*ROW_CODES),
)
def list_edited_rtstructs(
    service: ServiceDep,
    cursor: Cursor,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    state: Annotated[JobState | None, Query(description="Only those in this state.")] = None,
) -> EditedRtstructPage:
    """List edited RTSTRUCTs of all jobs, newest first."""
    return _page(service.page(page_size + 1, cursor, state=state), page_size)


@router.get(
    "/edited-rtstructs/{edited_rtstruct_id}",
    dependencies=[allow(Role.REVIEWER)],
    summary="Show an edited RTSTRUCT",
    responses=problem_responses("edited_rtstruct_not_found", *ROW_CODES),
)
def get_edited_rtstruct(edited_rtstruct_id: UUID, service: ServiceDep) -> EditedRtstructResponse:
    """Show the state of its comparison and, once finished, how far each structure was edited."""
    return EditedRtstructResponse.of(service.get(edited_rtstruct_id))


@router.get(
    "/edited-rtstructs/{edited_rtstruct_id}/rtstruct",
    dependencies=[allow(Role.REVIEWER)],
    summary="Download an edited RTSTRUCT",
    response_class=FileResponse,
    responses={
        **download_responses(DICOM_MEDIA_TYPE, "The file as it was sent."),
        **problem_responses(
            "edited_rtstruct_not_found",
            "edited_rtstruct_purged",
            "stored_files_missing",
            *IDENTITY_CODES,
            *ROW_CODES,
        ),
    },
)
def get_edited_file(
    edited_rtstruct_id: UUID, service: ServiceDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Stream the file as it was sent."""
    return download(
        service.rtstruct(edited_rtstruct_id),
        name=f"edited-rtstruct-{edited_rtstruct_id}.dcm",
        media_type=DICOM_MEDIA_TYPE,
        if_none_match=if_none_match,
    )


@router.delete(
    "/edited-rtstructs/{edited_rtstruct_id}",
    dependencies=[allow(Role.ADMIN)],
    summary="Delete an edited RTSTRUCT",
    responses={
        **DELETION_RESPONSES,
        **problem_responses("edited_rtstruct_not_found", "edited_rtstruct_in_use", *ROW_CODES),
    },
)
def delete_edited_rtstruct(
    edited_rtstruct_id: UUID, service: ServiceDep, response: Response
) -> DeletionResponse:
    """Delete the file and what datasets collected of it; the scores of the comparison stay."""
    return answer_deletion(service.delete(edited_rtstruct_id), response)


def _page(rows: Sequence[WatchedEdit], page_size: int) -> EditedRtstructPage:
    items, next_cursor = cut_page(rows, page_size, lambda watched: watched.row)
    return EditedRtstructPage(
        items=[EditedRtstructResponse.of(row) for row in items], next_cursor=next_cursor
    )
