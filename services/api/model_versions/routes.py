"""Routes under /v1/model-versions."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from services.api.access.roles import allow
from services.api.dependencies import DependenciesDep, WorkRequestDep
from services.api.model_versions.schemas import (
    ModelVersionDetailsResponse,
    ModelVersionPage,
    ModelVersionResponse,
    PromotionRequest,
    ShadowContourPage,
    ShadowContourResponse,
    ShadowSummaryResponse,
)
from services.api.model_versions.service import ModelVersionService
from services.api.paging import DEFAULT_PAGE_SIZE, Cursor, PageSize, cut_page
from services.api.problems import ROW_CODES, problem_responses
from services.core.actor import Role
from services.core.lifecycle import JobState

router = APIRouter(prefix="/v1/model-versions", tags=["model versions"])


def _service(dependencies: DependenciesDep) -> ModelVersionService:
    return ModelVersionService(dependencies.new_unit_of_work)


ServiceDep = Annotated[ModelVersionService, Depends(_service)]
StateFilter = Annotated[JobState | None, Query(description="Only those in this state.")]


@router.post(
    "",
    dependencies=[allow(Role.ADMIN)],
    summary="Promote a run",
    status_code=HTTPStatus.ACCEPTED,
    response_description="Queued. Location is the model version.",
    responses=problem_responses(
        "run_not_found",
        "run_not_succeeded",
        "already_promoted",
        "model_version_exists",
        "structures_differ",
        "below_minimum",
        "dataset_version_not_found",
        "dataset_not_ready",
        "dataset_purged",
        "idempotency_key_reused",
        *ROW_CODES,
    ),
)
def post_model_version(
    body: PromotionRequest, request: WorkRequestDep, service: ServiceDep, response: Response
) -> ModelVersionResponse:
    """Make a model version of a run's weights; a worker checks it before it may serve.

    The worker loads it as serving does and lets it and production contour the same test cases.
    """
    shown = service.promote(body.run_id, body.name, body.evaluation(), request)
    response.headers["Location"] = f"/v1/model-versions/{shown.version.id}"
    return ModelVersionResponse.of(shown)


@router.get(
    "",
    dependencies=[allow(Role.ADMIN)],
    summary="List model versions",
    responses=problem_responses(*ROW_CODES),
)
def list_model_versions(
    service: ServiceDep,
    cursor: Cursor,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    state: StateFilter = None,
) -> ModelVersionPage:
    """List model versions, newest first."""
    rows = service.page(page_size + 1, cursor, state=state)
    items, next_cursor = cut_page(rows, page_size, lambda shown: shown.version)
    return ModelVersionPage(
        items=[ModelVersionResponse.of(row) for row in items], next_cursor=next_cursor
    )


@router.get(
    "/{model_version_id}",
    dependencies=[allow(Role.ADMIN)],
    summary="Show a model version",
    responses=problem_responses("model_version_not_found", *ROW_CODES),
)
def get_model_version(model_version_id: UUID, service: ServiceDep) -> ModelVersionDetailsResponse:
    """Show its checks, card, run and dataset version, and the aliases that mean it."""
    return ModelVersionDetailsResponse.of_details(service.get(model_version_id))


@router.post(
    "/{model_version_id}/retire",
    dependencies=[allow(Role.ADMIN)],
    summary="Retire a model version",
    responses=problem_responses(
        "model_version_not_found", "model_version_not_ready", "model_version_in_use", *ROW_CODES
    ),
)
def retire_model_version(model_version_id: UUID, service: ServiceDep) -> ModelVersionResponse:
    """Have it take no alias any more; its files stay until it is deleted."""
    return ModelVersionResponse.of(service.retire(model_version_id))


@router.get(
    "/{model_version_id}/shadow-contours",
    dependencies=[allow(Role.ADMIN)],
    summary="List the jobs a model version contoured as a shadow",
    responses=problem_responses("model_version_not_found", *ROW_CODES),
)
def list_shadow_contours(
    model_version_id: UUID,
    service: ServiceDep,
    cursor: Cursor,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    state: StateFilter = None,
) -> ShadowContourPage:
    """List them, newest first, each with its agreement with what the job released."""
    rows = service.shadow_page(model_version_id, page_size + 1, cursor, state=state)
    items, next_cursor = cut_page(rows, page_size, lambda shadow: shadow)
    return ShadowContourPage(
        items=[ShadowContourResponse.of(row) for row in items], next_cursor=next_cursor
    )


@router.get(
    "/{model_version_id}/shadow-summary",
    dependencies=[allow(Role.ADMIN)],
    summary="Sum up what a model version contoured as a shadow",
    responses=problem_responses("model_version_not_found", *ROW_CODES),
)
def get_shadow_summary(model_version_id: UUID, service: ServiceDep) -> ShadowSummaryResponse:
    """Count its shadows and failures, and average its agreement with what was released."""
    return ShadowSummaryResponse.of(service.shadow_summary(model_version_id))
