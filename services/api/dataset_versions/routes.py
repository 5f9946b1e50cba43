"""Routes of dataset versions and their cases."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import StreamingResponse

from services.api.access.roles import allow
from services.api.dataset_versions.case_table import case_table
from services.api.dataset_versions.schemas import (
    DatasetCasePage,
    DatasetCaseResponse,
    DatasetVersionPage,
    DatasetVersionRequest,
    DatasetVersionResponse,
)
from services.api.dataset_versions.service import CaseFilter, DatasetVersionService
from services.api.dependencies import DependenciesDep, WorkRequestDep
from services.api.mappings import checked_mapping
from services.api.paging import DEFAULT_PAGE_SIZE, Cursor, PageSize, cut_page
from services.api.problems import ROW_CODES, problem_responses
from services.api.removal import DELETION_RESPONSES, DeletionResponse, answer_deletion
from services.core.actor import Role
from services.core.lifecycle import CasePart, CaseStatus

CSV_MEDIA_TYPE = "text/csv"
MAX_POSITION = 2**31 - 1
_CSV_CONTENT = {CSV_MEDIA_TYPE: {"schema": {"type": "string"}}}

PositionCursor = Annotated[
    int | None,
    Query(ge=0, le=MAX_POSITION, description="`next_cursor` of the page before."),
]


def _case_filter(
    status: Annotated[CaseStatus | None, Query(description="Only cases of this status.")] = None,
    part: Annotated[CasePart | None, Query(description="Only cases of this part.")] = None,
) -> CaseFilter:
    return CaseFilter(status=status, part=part)


WantedCases = Annotated[CaseFilter, Depends(_case_filter)]

router = APIRouter(prefix="/v1", tags=["dataset versions"])


def _service(dependencies: DependenciesDep) -> DatasetVersionService:
    return DatasetVersionService(dependencies.new_unit_of_work, dependencies.storage)


ServiceDep = Annotated[DatasetVersionService, Depends(_service)]


@router.post(
    "/datasets/{dataset_id}/versions",
    dependencies=[allow(Role.ADMIN)],
    summary="Read the sources of a dataset into a version",
    status_code=HTTPStatus.ACCEPTED,
    response_description="Queued. Location is the version.",
    responses=problem_responses(
        "dataset_not_found",
        "dataset_has_no_source",
        "version_in_progress",
        "mapping_invalid",
        "idempotency_key_reused",
        *ROW_CODES,
    ),
)
def post_dataset_version(
    dataset_id: UUID,
    body: DatasetVersionRequest,
    request: WorkRequestDep,
    service: ServiceDep,
    response: Response,
) -> DatasetVersionResponse:
    """Have all sources read anew; cases that did not change are taken from the last version.

    Poll Location until `state` is succeeded, failed or cancelled. A version never changes again.
    """
    mapping = None if body.mapping is None else checked_mapping(body.mapping)
    fingerprint = body.model_dump_json()
    version = service.post(dataset_id, body.options(), mapping, fingerprint, request)
    response.headers["Location"] = f"/v1/dataset-versions/{version.id}"
    return DatasetVersionResponse.of(version)


@router.get(
    "/datasets/{dataset_id}/versions",
    dependencies=[allow(Role.ADMIN)],
    summary="List the versions of a dataset",
    responses=problem_responses("dataset_not_found", *ROW_CODES),
)
def list_dataset_versions(
    dataset_id: UUID,
    service: ServiceDep,
    cursor: Cursor,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
) -> DatasetVersionPage:
    """List versions, newest first."""
    rows = service.page(dataset_id, page_size + 1, cursor)
    items, next_cursor = cut_page(rows, page_size, lambda version: version)
    return DatasetVersionPage(
        items=[DatasetVersionResponse.of(row) for row in items], next_cursor=next_cursor
    )


@router.get(
    "/dataset-versions/{version_id}",
    dependencies=[allow(Role.ADMIN)],
    summary="Show a dataset version",
    responses=problem_responses("dataset_version_not_found", *ROW_CODES),
)
def get_dataset_version(version_id: UUID, service: ServiceDep) -> DatasetVersionResponse:
    """Show state and progress and, once it succeeded, what the version holds and lacks."""
    return DatasetVersionResponse.of(service.get(version_id))


@router.get(
    "/dataset-versions/{version_id}/cases",
    dependencies=[allow(Role.ADMIN)],
    summary="List the cases of a dataset version",
    response_model=DatasetCasePage,
    responses={
        200: {"description": "A page; all of them with Accept: text/csv.", "content": _CSV_CONTENT},
        **problem_responses("dataset_version_not_found", *ROW_CODES),
    },
)
def list_dataset_cases(
    version_id: UUID,
    service: ServiceDep,
    wanted: WantedCases,
    cursor: PositionCursor = None,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    accept: Annotated[str, Header()] = "",
) -> DatasetCasePage | Response:
    """List what became of every candidate, in the order of reading; refused ones with the reason.

    There are none before the version has succeeded, or failed for want of usable cases.
    """
    if CSV_MEDIA_TYPE in accept:
        return _csv(service, version_id, wanted)
    rows = service.cases(version_id, wanted, page_size + 1, cursor)
    items = rows[:page_size]
    next_cursor = str(items[-1].position) if len(rows) > page_size else None
    return DatasetCasePage(
        items=[DatasetCaseResponse.of(row) for row in items], next_cursor=next_cursor
    )


@router.get(
    "/dataset-versions/{version_id}/cases.csv",
    dependencies=[allow(Role.ADMIN)],
    summary="Download the cases of a dataset version",
    response_class=StreamingResponse,
    responses={
        200: {"description": "All cases, one a line.", "content": _CSV_CONTENT},
        **problem_responses("dataset_version_not_found", *ROW_CODES),
    },
)
def download_dataset_cases(version_id: UUID, service: ServiceDep, wanted: WantedCases) -> Response:
    """Stream the list of cases as a table."""
    return _csv(service, version_id, wanted)


@router.post(
    "/dataset-versions/{version_id}/cancel",
    dependencies=[allow(Role.ADMIN)],
    summary="Cancel a dataset version",
    status_code=HTTPStatus.ACCEPTED,
    responses=problem_responses("dataset_version_not_found", "illegal_transition", *ROW_CODES),
)
def cancel_dataset_version(version_id: UUID, service: ServiceDep) -> DatasetVersionResponse:
    """End a queued version at once and have a running one stop before its next case."""
    return DatasetVersionResponse.of(service.cancel(version_id))


@router.delete(
    "/dataset-versions/{version_id}",
    dependencies=[allow(Role.ADMIN)],
    summary="Delete a dataset version",
    responses={
        **DELETION_RESPONSES,
        **problem_responses(
            "dataset_version_not_found", "dataset_removed", "dataset_version_in_use", *ROW_CODES
        ),
    },
)
def delete_dataset_version(
    version_id: UUID, service: ServiceDep, response: Response
) -> DeletionResponse:
    """Delete images, labels, crops and the names of cases; again shows the same deletion.

    The rows stay as a record: of every case its pseudonym, part and outcome, so that later
    versions deal patients as before.
    """
    return answer_deletion(service.delete(version_id), response)


def _csv(service: DatasetVersionService, version_id: UUID, wanted: CaseFilter) -> Response:
    cases = service.all_cases(version_id, wanted)
    name = f"cases-{version_id}.csv"
    return StreamingResponse(
        case_table(cases),
        media_type=CSV_MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
