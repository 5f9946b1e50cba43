"""Routes under /v1/api-keys."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from services.api.access.roles import allow
from services.api.api_keys.schemas import (
    ApiKeyPage,
    ApiKeyRequest,
    ApiKeyResponse,
    DrawnKeyResponse,
    RenewalRequest,
)
from services.api.api_keys.service import ApiKeyService
from services.api.dependencies import DependenciesDep
from services.api.paging import DEFAULT_PAGE_SIZE, Cursor, PageSize, cut_page
from services.api.problems import ROW_CODES, problem_responses
from services.core.actor import Role

router = APIRouter(prefix="/v1/api-keys", tags=["access"])

NO_STORE = "no-store"
"""An answer with a key is kept by no cache (RFC 9111, 5.2.2.5)."""


def _service(dependencies: DependenciesDep) -> ApiKeyService:
    return ApiKeyService(dependencies.new_unit_of_work)


ServiceDep = Annotated[ApiKeyService, Depends(_service)]


@router.post(
    "",
    dependencies=[allow(Role.ADMIN)],
    summary="Make an API key",
    status_code=HTTPStatus.CREATED,
    response_description="Made; `key` is shown this once.",
    responses=problem_responses(*ROW_CODES),
)
def post_api_key(
    body: ApiKeyRequest, dependencies: DependenciesDep, service: ServiceDep, response: Response
) -> DrawnKeyResponse:
    """Make a key for a new client. Keys that never expire are made on the command line alone."""
    response.headers["Cache-Control"] = NO_STORE
    days = body.days or dependencies.api_key_days
    return DrawnKeyResponse.of(service.create(body.name, body.role, days))


@router.get(
    "",
    dependencies=[allow(Role.ADMIN)],
    summary="List API keys",
    responses=problem_responses(*ROW_CODES),
)
def list_api_keys(
    service: ServiceDep, cursor: Cursor, page_size: PageSize = DEFAULT_PAGE_SIZE
) -> ApiKeyPage:
    """List keys, newest first, those that are over included."""
    rows = service.page(page_size + 1, cursor)
    items, next_cursor = cut_page(rows, page_size, lambda row: row)
    return ApiKeyPage(
        items=[ApiKeyResponse.model_validate(row) for row in items], next_cursor=next_cursor
    )


@router.post(
    "/{key_id}/renew",
    dependencies=[allow(Role.ADMIN)],
    summary="Make another API key for the same client",
    status_code=HTTPStatus.CREATED,
    response_description="Made; `key` is shown this once.",
    responses=problem_responses("api_key_not_found", *ROW_CODES),
)
def renew_api_key(
    key_id: UUID,
    body: RenewalRequest,
    dependencies: DependenciesDep,
    service: ServiceDep,
    response: Response,
) -> DrawnKeyResponse:
    """Make a key of the same name, role and client; what the client submitted stays its own.

    The old key stays valid as long as it was: revoke it once the new one is in place.
    """
    response.headers["Cache-Control"] = NO_STORE
    return DrawnKeyResponse.of(service.renew(key_id, body.days or dependencies.api_key_days))


@router.post(
    "/{key_id}/revoke",
    dependencies=[allow(Role.ADMIN)],
    summary="Revoke an API key",
    responses=problem_responses("api_key_not_found", *ROW_CODES),
)
def revoke_api_key(key_id: UUID, service: ServiceDep) -> ApiKeyResponse:
    """End a key with the next request; revoking again changes nothing."""
    return ApiKeyResponse.model_validate(service.revoke(key_id))
