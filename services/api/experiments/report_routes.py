"""Routes under /v1/experiment-reports."""

import mimetypes
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import FileResponse

from services.api.access.roles import allow
from services.api.dependencies import DependenciesDep, WorkRequestDep
from services.api.experiments.report_schemas import ReportPage, ReportRequestBody, ReportResponse
from services.api.experiments.report_service import ReportService
from services.api.paging import DEFAULT_PAGE_SIZE, Cursor, PageSize, cut_page
from services.api.problems import ROW_CODES, problem_responses
from services.api.removal import DELETION_RESPONSES, DeletionResponse, answer_deletion
from services.core.actor import Role

router = APIRouter(prefix="/v1/experiment-reports", tags=["experiments"])


def _service(dependencies: DependenciesDep) -> ReportService:
    return ReportService(dependencies.new_unit_of_work, dependencies.storage)


ServiceDep = Annotated[ReportService, Depends(_service)]


@router.post(
    "",
    dependencies=[allow(Role.ADMIN)],
    summary="Lay experiments side by side",
    status_code=HTTPStatus.ACCEPTED,
    response_description="Queued. Location is the report.",
    responses=problem_responses(
        "experiment_not_found",
        "dataset_versions_differ",
        "nothing_to_report",
        "idempotency_key_reused",
        *ROW_CODES,
    ),
)
def post_report(
    body: ReportRequestBody, work: WorkRequestDep, service: ServiceDep, response: Response
) -> ReportResponse:
    """Have tables, figures and paired statistics written over all runs that succeeded.

    Every experiment gets a report of its own when its last run is over.
    """
    shown = service.post(body.experiment_ids, body.title, work)
    response.headers["Location"] = f"/v1/experiment-reports/{shown.report.id}"
    return ReportResponse.of(shown)


@router.get(
    "",
    dependencies=[allow(Role.ADMIN)],
    summary="List reports",
    responses=problem_responses(*ROW_CODES),
)
def list_reports(
    service: ServiceDep,
    cursor: Cursor,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    experiment_id: Annotated[
        UUID | None, Query(description="Only reports that show this experiment.")
    ] = None,
) -> ReportPage:
    """List reports, newest first."""
    rows = service.page(page_size + 1, cursor, experiment_id)
    items, next_cursor = cut_page(rows, page_size, lambda shown: shown.report)
    return ReportPage(items=[ReportResponse.of(row) for row in items], next_cursor=next_cursor)


@router.get(
    "/{report_id}",
    dependencies=[allow(Role.ADMIN)],
    summary="Show a report",
    responses=problem_responses("report_not_found", *ROW_CODES),
)
def get_report(report_id: UUID, service: ServiceDep) -> ReportResponse:
    """Show the statistics, and where tables and figures are."""
    return ReportResponse.of(service.get(report_id))


@router.delete(
    "/{report_id}",
    dependencies=[allow(Role.ADMIN)],
    summary="Delete a report",
    responses={
        **DELETION_RESPONSES,
        **problem_responses("report_not_found", "report_in_progress", *ROW_CODES),
    },
)
def delete_report(report_id: UUID, service: ServiceDep, response: Response) -> DeletionResponse:
    """Delete title, statistics, tables and figures; again shows the same deletion."""
    return answer_deletion(service.delete(report_id), response)


@router.get(
    "/{report_id}/files/{name}",
    dependencies=[allow(Role.ADMIN)],
    summary="Download a file of a report",
    response_class=FileResponse,
    responses={
        200: {"description": "HTML, markdown, CSV, JSON, PNG or SVG, as its name says."},
        **problem_responses(
            "report_not_found",
            "report_not_ready",
            "report_purged",
            "report_file_not_found",
            "stored_files_missing",
            *ROW_CODES,
        ),
    },
)
def get_report_file(report_id: UUID, name: str, service: ServiceDep) -> FileResponse:
    """Stream a table, a figure or the whole page."""
    path = service.file(report_id, name)
    media_type = mimetypes.guess_type(name)[0] or "text/plain"
    # What stands in it came from requests: no script of it runs, whatever the browser makes of it.
    headers = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=media_type, headers=headers)
