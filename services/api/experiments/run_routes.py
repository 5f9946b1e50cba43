"""Routes under /v1/runs."""

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter

from services.api.access.roles import allow
from services.api.dependencies import WorkRequestDep
from services.api.experiments.routes import ServiceDep
from services.api.experiments.run_schemas import (
    EpochPage,
    EpochResponse,
    RunResponse,
    ScorePage,
    ScoreResponse,
)
from services.api.paging import DEFAULT_PAGE_SIZE, OrderedCursor, PageSize, cut_ordered_page
from services.api.problems import DATASET_CODES, ROW_CODES, problem_responses
from services.api.texts import SoughtText
from services.core.actor import Role

router = APIRouter(prefix="/v1/runs", tags=["experiments"])

_FOUND = problem_responses("run_not_found", *ROW_CODES)
_REQUEUED = problem_responses(
    "run_not_found", "run_not_resumable", *DATASET_CODES, "idempotency_key_reused", *ROW_CODES
)


@router.get("/{run_id}", dependencies=[allow(Role.ADMIN)], summary="Show a run", responses=_FOUND)
def get_run(run_id: UUID, service: ServiceDep) -> RunResponse:
    """Show state, progress, queue position and, once it succeeded, what it came to."""
    return RunResponse.of(service.run(run_id))


@router.post(
    "/{run_id}/cancel",
    dependencies=[allow(Role.ADMIN)],
    summary="Cancel a run",
    status_code=HTTPStatus.ACCEPTED,
    responses=problem_responses("run_not_found", "illegal_transition", *ROW_CODES),
)
def cancel_run(run_id: UUID, service: ServiceDep) -> RunResponse:
    """End a queued run at once; a running one ends within a batch and keeps its last epoch."""
    return RunResponse.of(service.cancel_run(run_id))


@router.post(
    "/{run_id}/resume",
    dependencies=[allow(Role.ADMIN)],
    summary="Go on with a failed or cancelled run",
    status_code=HTTPStatus.ACCEPTED,
    responses=_REQUEUED,
)
def resume_run(run_id: UUID, work: WorkRequestDep, service: ServiceDep) -> RunResponse:
    """Queue it again; it goes on behind its last finished epoch."""
    return RunResponse.of(service.requeue_run(run_id, work, from_the_start=False))


@router.post(
    "/{run_id}/retry",
    dependencies=[allow(Role.ADMIN)],
    summary="Begin a failed or cancelled run anew",
    status_code=HTTPStatus.ACCEPTED,
    responses=_REQUEUED,
)
def retry_run(run_id: UUID, work: WorkRequestDep, service: ServiceDep) -> RunResponse:
    """Queue it again from its first epoch; what it had is forgotten."""
    return RunResponse.of(service.requeue_run(run_id, work, from_the_start=True))


@router.get(
    "/{run_id}/epochs",
    dependencies=[allow(Role.ADMIN)],
    summary="List the epochs of a run",
    responses=_FOUND,
)
def list_epochs(
    run_id: UUID,
    service: ServiceDep,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: OrderedCursor = None,
) -> EpochPage:
    """List finished epochs in order."""
    rows = service.epoch_page(run_id, page_size + 1, cursor)
    items, next_cursor = cut_ordered_page(rows, page_size, lambda epoch: epoch.epoch)
    return EpochPage(
        items=[EpochResponse.model_validate(row) for row in items], next_cursor=next_cursor
    )


@router.get(
    "/{run_id}/scores",
    dependencies=[allow(Role.ADMIN)],
    summary="List the scores of a run",
    responses=_FOUND,
)
def list_scores(
    run_id: UUID,
    service: ServiceDep,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: OrderedCursor = None,
    structure: SoughtText | None = None,
) -> ScorePage:
    """List how well the kept weights found every structure of the test cases.

    Where the dataset version has no test case, validation cases are scored.
    """
    rows = service.score_page(run_id, page_size + 1, cursor, structure)
    items, next_cursor = cut_ordered_page(rows, page_size, lambda score: score.id)
    return ScorePage(items=[ScoreResponse.of(row) for row in items], next_cursor=next_cursor)
