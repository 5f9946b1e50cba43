"""Routes under /v1/deletions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from services.api.access.roles import allow
from services.api.deletions.schemas import DeletionPage
from services.api.deletions.service import DeletionFilter, DeletionService
from services.api.dependencies import DependenciesDep
from services.api.paging import DEFAULT_PAGE_SIZE, Cursor, PageSize, cut_page
from services.api.problems import ROW_CODES, problem_responses
from services.api.removal import DeletionResponse
from services.core.actor import Role
from services.core.audit import ResourceKind

router = APIRouter(prefix="/v1/deletions", tags=["deletions"])


def _service(dependencies: DependenciesDep) -> DeletionService:
    return DeletionService(dependencies.new_unit_of_work)


def _filter(
    resource_kind: Annotated[ResourceKind | None, Query(description="Only of this kind.")] = None,
    resource_id: Annotated[UUID | None, Query(description="Only of this resource.")] = None,
    is_completed: Annotated[
        bool | None, Query(description="Only those whose files are, or are not, gone.")
    ] = None,
) -> DeletionFilter:
    return DeletionFilter(kind=resource_kind, resource_id=resource_id, is_completed=is_completed)


ServiceDep = Annotated[DeletionService, Depends(_service)]


@router.get(
    "",
    dependencies=[allow(Role.ADMIN)],
    summary="List deletions",
    responses=problem_responses(*ROW_CODES),
)
def list_deletions(
    service: ServiceDep,
    wanted: Annotated[DeletionFilter, Depends(_filter)],
    cursor: Cursor,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
) -> DeletionPage:
    """List what was removed, on request or for its age, newest first."""
    rows = service.page(wanted, page_size + 1, cursor)
    items, next_cursor = cut_page(rows, page_size, lambda deletion: deletion)
    return DeletionPage(items=[DeletionResponse.of(row) for row in items], next_cursor=next_cursor)


@router.get(
    "/{deletion_id}",
    dependencies=[allow(Role.SUBMITTER)],
    summary="Show a deletion",
    responses=problem_responses("deletion_not_found", *ROW_CODES),
)
def get_deletion(deletion_id: UUID, service: ServiceDep) -> DeletionResponse:
    """Show the record of a deletion; `completed_at` says when the last file was gone.

    A submitter is shown those that it asked for.
    """
    return DeletionResponse.of(service.get(deletion_id))
