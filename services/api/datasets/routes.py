"""Routes under /v1/datasets that make datasets and give them sources."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Depends, Response

from services.api.access.roles import allow
from services.api.datasets.case_files import check_cases
from services.api.datasets.schemas import (
    AddedCasesResponse,
    AddedSourcesResponse,
    DatasetPage,
    DatasetRequest,
    DatasetResponse,
    DatasetSummary,
    EditedRtstructsRequest,
    FolderRequest,
)
from services.api.datasets.service import AddedSources, DatasetService
from services.api.dependencies import DependenciesDep, IdempotencyKey
from services.api.mappings import MappingBody
from services.api.paging import DEFAULT_PAGE_SIZE, Cursor, PageSize, cut_page
from services.api.problems import MANY_FILES_CODES, ROW_CODES, STORAGE_CODES, problem_responses
from services.api.uploads.http import UploadBody, upload_request_body
from services.api.uploads.stream import received_upload
from services.core.actor import Role

FOLDER_CODES = ("no_mounted_datasets", "folder_outside_mount", "folder_not_found")

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


def _service(dependencies: DependenciesDep) -> DatasetService:
    return DatasetService(
        dependencies.new_unit_of_work, dependencies.storage, dependencies.datasets_dir
    )


ServiceDep = Annotated[DatasetService, Depends(_service)]


@router.post(
    "",
    dependencies=[allow(Role.ADMIN)],
    summary="Make a dataset",
    status_code=HTTPStatus.CREATED,
    response_description="Made. Location is the dataset.",
    responses=problem_responses(
        "dataset_exists", "mapping_invalid", *FOLDER_CODES, "idempotency_key_reused", *ROW_CODES
    ),
)
def post_dataset(
    body: DatasetRequest,
    service: ServiceDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> DatasetResponse:
    """Make a dataset: a name under which cases are gathered, from a mounted folder or uploads."""
    made = service.post(body.name, body.folder, body.mapping, idempotency_key)
    response.headers["Location"] = f"/v1/datasets/{made.dataset.id}"
    return DatasetResponse.of(made)


@router.get(
    "",
    dependencies=[allow(Role.ADMIN)],
    summary="List datasets",
    responses=problem_responses(*ROW_CODES),
)
def list_datasets(
    service: ServiceDep, cursor: Cursor, page_size: PageSize = DEFAULT_PAGE_SIZE
) -> DatasetPage:
    """List datasets, newest first, each with its last version."""
    rows = service.page(page_size + 1, cursor)
    items, next_cursor = cut_page(rows, page_size, lambda listed: listed.dataset)
    return DatasetPage(items=[DatasetSummary.of(row) for row in items], next_cursor=next_cursor)


@router.get(
    "/{dataset_id}",
    dependencies=[allow(Role.ADMIN)],
    summary="Show a dataset",
    responses=problem_responses("dataset_not_found", *ROW_CODES),
)
def get_dataset(dataset_id: UUID, service: ServiceDep) -> DatasetResponse:
    """Show sources, mapping and last versions."""
    return DatasetResponse.of(service.get(dataset_id))


@router.put(
    "/{dataset_id}/mapping",
    dependencies=[allow(Role.ADMIN)],
    summary="Say what the names of regions mean",
    responses=problem_responses("dataset_not_found", "mapping_invalid", *ROW_CODES),
)
def put_mapping(dataset_id: UUID, body: MappingBody, service: ServiceDep) -> DatasetResponse:
    """Set the mapping for the versions made from now on; those that are there stay as they are."""
    return DatasetResponse.of(service.put_mapping(dataset_id, body))


@router.post(
    "/{dataset_id}/cases",
    dependencies=[allow(Role.ADMIN)],
    summary="Add cases by upload",
    status_code=HTTPStatus.CREATED,
    response_description="Kept as a source; the next version reads it.",
    responses={
        200: {"model": AddedCasesResponse, "description": "The same files were there before."},
        **problem_responses(
            "dataset_not_found",
            "no_case_in_upload",
            *MANY_FILES_CODES,
            *STORAGE_CODES,
            "idempotency_key_reused",
            *ROW_CODES,
        ),
    },
    openapi_extra=upload_request_body(
        "CT series and RTSTRUCTs of any number of cases: zips, or their files."
    ),
)
async def post_cases(
    dataset_id: UUID,
    body: UploadBody,
    dependencies: DependenciesDep,
    service: ServiceDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> AddedCasesResponse:
    """Keep the CT images and RTSTRUCTs of an upload; whether each is a case, a version tells."""
    await to_thread.run_sync(service.check_exists, dataset_id)
    limits = dependencies.dataset_upload_limits
    async with received_upload(body, dependencies.storage, limits) as upload:
        checked = await dependencies.dataset_bounded.run(
            dependencies.order(upload.byte_count), check_cases, upload
        )
        added = await to_thread.run_sync(
            service.add_cases,
            dataset_id,
            checked,
            idempotency_key,
            limiter=dependencies.dataset_slots,
        )
    response.status_code = HTTPStatus.CREATED if added.is_new else HTTPStatus.OK
    return AddedCasesResponse.of(added)


@router.post(
    "/{dataset_id}/folders",
    dependencies=[allow(Role.ADMIN)],
    summary="Add cases of a mounted folder",
    status_code=HTTPStatus.CREATED,
    response_description="A source; the next version reads it.",
    responses={
        200: {"model": AddedSourcesResponse, "description": "The folder was a source before."},
        **problem_responses("dataset_not_found", *FOLDER_CODES, *ROW_CODES),
    },
)
def post_folder(
    dataset_id: UUID, body: FolderRequest, service: ServiceDep, response: Response
) -> AddedSourcesResponse:
    """Register a folder below the one that is mounted for datasets; it is never written."""
    return _added(service.add_folder(dataset_id, body.folder), response)


@router.post(
    "/{dataset_id}/edited-rtstructs",
    dependencies=[allow(Role.ADMIN)],
    summary="Add contours that clinicians corrected",
    status_code=HTTPStatus.CREATED,
    response_description="Sources; the next version reads them.",
    responses={
        200: {"model": AddedSourcesResponse, "description": "All were sources before."},
        **problem_responses(
            "dataset_not_found",
            "edited_rtstruct_not_found",
            "edited_rtstruct_not_compared",
            "edited_rtstruct_purged",
            *ROW_CODES,
        ),
    },
)
def post_edited_rtstructs(
    dataset_id: UUID, body: EditedRtstructsRequest, service: ServiceDep, response: Response
) -> AddedSourcesResponse:
    """Make cases of edited RTSTRUCTs and the CT series they belong to.

    Of several structure sets of one series the one that was sent last counts.
    """
    return _added(service.add_edited(dataset_id, body.edited_rtstruct_ids), response)


def _added(added: AddedSources, response: Response) -> AddedSourcesResponse:
    response.status_code = HTTPStatus.CREATED if added.new_count else HTTPStatus.OK
    return AddedSourcesResponse.of(added)
