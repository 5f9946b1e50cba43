"""Routes under /v1/model-aliases."""

from typing import Annotated

from fastapi import APIRouter, Depends

from services.api.access.roles import allow
from services.api.dependencies import DependenciesDep, IdempotencyKey
from services.api.model_aliases.schemas import (
    AliasChangeRequest,
    ModelAliasChangeResponse,
    ModelAliasHistory,
    ModelAliasList,
    ModelAliasResponse,
    RollbackRequest,
)
from services.api.model_aliases.service import ModelAliasService, WantedChange
from services.api.paging import DEFAULT_PAGE_SIZE, Cursor, PageSize, cut_page
from services.api.problems import ROW_CODES, problem_responses
from services.core.actor import Role
from services.core.lifecycle import AliasName

router = APIRouter(prefix="/v1/model-aliases", tags=["model aliases"])


def _service(dependencies: DependenciesDep) -> ModelAliasService:
    return ModelAliasService(dependencies.new_unit_of_work)


ServiceDep = Annotated[ModelAliasService, Depends(_service)]


@router.get(
    "",
    dependencies=[allow(Role.ADMIN)],
    summary="Show what the aliases mean",
    responses=problem_responses(*ROW_CODES),
)
def list_model_aliases(service: ServiceDep) -> ModelAliasList:
    """Show which version contours every job, and which one does so as a shadow."""
    return ModelAliasList(items=[ModelAliasResponse.model_validate(row) for row in service.all()])


@router.put(
    "/{alias}",
    dependencies=[allow(Role.ADMIN)],
    summary="Have an alias mean another model version",
    responses=problem_responses(
        "model_version_not_found",
        "model_version_not_ready",
        "model_version_retired",
        "structures_differ",
        "alias_changed",
        *ROW_CODES,
    ),
)
def put_model_alias(
    alias: AliasName, body: AliasChangeRequest, service: ServiceDep
) -> ModelAliasResponse:
    """Change it if it still means what is to be replaced; the next job uses the new version."""
    wanted = WantedChange(
        alias=alias,
        model_version_id=body.model_version_id,
        replaces=body.replaces,
        reason=body.reason,
    )
    return ModelAliasResponse.model_validate(service.change(wanted))


@router.post(
    "/{alias}/rollback",
    dependencies=[allow(Role.ADMIN)],
    summary="Go back to what an alias meant before",
    responses=problem_responses(
        "nothing_to_roll_back", "alias_changed", "idempotency_key_reused", *ROW_CODES
    ),
)
def roll_back_model_alias(
    alias: AliasName,
    service: ServiceDep,
    body: RollbackRequest | None = None,
    idempotency_key: IdempotencyKey = None,
) -> ModelAliasResponse:
    """Undo the last change, passing over retired versions; again goes further back."""
    reason = body.reason if body else None
    return ModelAliasResponse.model_validate(service.roll_back(alias, reason, idempotency_key))


@router.get(
    "/{alias}/history",
    dependencies=[allow(Role.ADMIN)],
    summary="List the changes of an alias",
    responses=problem_responses(*ROW_CODES),
)
def list_model_alias_changes(
    alias: AliasName, service: ServiceDep, cursor: Cursor, page_size: PageSize = DEFAULT_PAGE_SIZE
) -> ModelAliasHistory:
    """List them, newest first."""
    rows = service.history(alias, page_size + 1, cursor)
    items, next_cursor = cut_page(rows, page_size, lambda change: change)
    return ModelAliasHistory(
        items=[ModelAliasChangeResponse.model_validate(row) for row in items],
        next_cursor=next_cursor,
    )
