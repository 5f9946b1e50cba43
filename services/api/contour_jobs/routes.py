"""Routes under /v1/contour-jobs."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import FileResponse

from services.api.access.roles import allow
from services.api.contour_jobs.relinking import RelinkOrder, relink
from services.api.contour_jobs.schemas import (
    ContourJobPage,
    ContourJobRequest,
    ContourJobResponse,
)
from services.api.contour_jobs.service import ContourJobService
from services.api.dependencies import DependenciesDep, WorkRequestDep
from services.api.downloads import DICOM_MEDIA_TYPE, IfNoneMatch, download, download_responses
from services.api.paging import DEFAULT_PAGE_SIZE, Cursor, PageSize, cut_page
from services.api.problems import IDENTITY_CODES, ROW_CODES, problem_responses
from services.api.removal import DELETION_RESPONSES, DeletionResponse, answer_deletion
from services.api.work import RESULT_CODES
from services.core.actor import Role
from services.core.lifecycle import JobState

router = APIRouter(prefix="/v1/contour-jobs", tags=["contour jobs"])


def _service(dependencies: DependenciesDep) -> ContourJobService:
    return ContourJobService(dependencies.new_unit_of_work, dependencies.storage)


ServiceDep = Annotated[ContourJobService, Depends(_service)]


@router.post(
    "",
    dependencies=[allow(Role.SUBMITTER)],
    summary="Contour a stored CT series",
    status_code=HTTPStatus.ACCEPTED,
    response_description="Queued. Location is the job.",
    responses=problem_responses(
        "series_not_found", "series_purged", "idempotency_key_reused", *ROW_CODES
    ),
)
def post_contour_job(
    body: ContourJobRequest, request: WorkRequestDep, service: ServiceDep, response: Response
) -> ContourJobResponse:
    """Queue a job. Poll Location until `state` is succeeded, failed or cancelled."""
    watched = service.post(body.series_id, request)
    response.headers["Location"] = f"/v1/contour-jobs/{watched.job.id}"
    return ContourJobResponse.of(watched)


@router.get(
    "",
    dependencies=[allow(Role.SUBMITTER, Role.REVIEWER)],
    summary="List contour jobs",
    responses=problem_responses(*ROW_CODES),
)
def list_contour_jobs(
    service: ServiceDep,
    cursor: Cursor,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
    series_id: Annotated[UUID | None, Query(description="Only jobs of this series.")] = None,
) -> ContourJobPage:
    """List jobs, newest first."""
    rows = service.page(page_size + 1, cursor, state=state, series_id=series_id)
    items, next_cursor = cut_page(rows, page_size, lambda watched: watched.job)
    return ContourJobPage(
        items=[ContourJobResponse.of(row) for row in items], next_cursor=next_cursor
    )


@router.get(
    "/{job_id}",
    dependencies=[allow(Role.SUBMITTER, Role.REVIEWER)],
    summary="Show a contour job",
    responses=problem_responses("contour_job_not_found", *ROW_CODES),
)
def get_contour_job(job_id: UUID, service: ServiceDep) -> ContourJobResponse:
    """Show state, progress, queue position and, once finished, what came out."""
    return ContourJobResponse.of(service.get(job_id))


@router.post(
    "/{job_id}/cancel",
    dependencies=[allow(Role.SUBMITTER)],
    summary="Cancel a contour job",
    status_code=HTTPStatus.ACCEPTED,
    responses=problem_responses("contour_job_not_found", "illegal_transition", *ROW_CODES),
)
def cancel_contour_job(job_id: UUID, service: ServiceDep) -> ContourJobResponse:
    """End a queued job at once and ask a running one to stop; cancelling again changes nothing."""
    return ContourJobResponse.of(service.cancel(job_id))


@router.delete(
    "/{job_id}",
    dependencies=[allow(Role.SUBMITTER)],
    summary="Delete the result of a contour job and its edits",
    responses={
        **DELETION_RESPONSES,
        **problem_responses("contour_job_not_found", "contour_job_in_use", *ROW_CODES),
    },
)
def delete_contour_job(job_id: UUID, service: ServiceDep, response: Response) -> DeletionResponse:
    """Delete the RTSTRUCT, what shadows made of it, and its edited ones; the series stays.

    The row stays as a record without texts; grades stay, comments do not.
    """
    return answer_deletion(service.delete(job_id), response)


@router.get(
    "/{job_id}/rtstruct",
    dependencies=[allow(Role.SUBMITTER, Role.REVIEWER)],
    summary="Download the RTSTRUCT of a contour job",
    response_class=FileResponse,
    responses={
        **download_responses(DICOM_MEDIA_TYPE, "A DICOM RT Structure Set, UNAPPROVED."),
        **problem_responses(
            *RESULT_CODES, "stored_files_missing", "relinking_failed", *IDENTITY_CODES, *ROW_CODES
        ),
    },
)
async def get_rtstruct(
    job_id: UUID,
    service: ServiceDep,
    dependencies: DependenciesDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Stream the file that the worker checked and released.

    Of a series that is stored de-identified it is linked back first: patient, study, series,
    frame of reference and images are those of the CT as it was sent.
    """
    found = await to_thread.run_sync(service.rtstruct, job_id)
    if isinstance(found, RelinkOrder):
        order = dependencies.order(found.rtstruct.stat().st_size)
        found = await dependencies.relink_bounded.run(order, relink, found)
    return download(
        found,
        name=f"rtstruct-{job_id}.dcm",
        media_type=DICOM_MEDIA_TYPE,
        if_none_match=if_none_match,
    )
