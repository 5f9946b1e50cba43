"""Routes under /v1/experiments."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse, StreamingResponse

from services.api.access.roles import allow
from services.api.dependencies import DependenciesDep, WorkRequestDep
from services.api.experiments.events import ExperimentChanges, stream_changes
from services.api.experiments.listeners import ListenerDep
from services.api.experiments.requests import ExperimentRequestBody
from services.api.experiments.run_schemas import RunPage, RunResponse
from services.api.experiments.schemas import (
    DryRunResponse,
    ExperimentPage,
    ExperimentResponse,
    LeaderboardResponse,
    PlaceResponse,
)
from services.api.experiments.service import ExperimentService
from services.api.experiments.tables import epochs_csv, scores_csv
from services.api.paging import (
    DEFAULT_PAGE_SIZE,
    Cursor,
    OrderedCursor,
    PageSize,
    cut_ordered_page,
    cut_page,
)
from services.api.problems import DATASET_CODES, ROW_CODES, problem_responses
from services.core.actor import Role
from services.core.lifecycle import ExperimentKind, ExperimentState

CSV_MEDIA_TYPE = "text/csv"
EVENTS_MEDIA_TYPE = "text/event-stream"

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])


def _service(dependencies: DependenciesDep) -> ExperimentService:
    return ExperimentService(dependencies.new_unit_of_work, dependencies.worker_silent_seconds)


ServiceDep = Annotated[ExperimentService, Depends(_service)]


@router.post(
    "",
    dependencies=[allow(Role.ADMIN)],
    summary="Ask a question that training answers",
    status_code=HTTPStatus.ACCEPTED,
    response_description="Every run is queued. Location is the experiment.",
    responses={
        200: {"model": DryRunResponse, "description": "The plan of a dry run; nothing is stored."},
        **problem_responses(
            "dataset_version_not_found",
            *DATASET_CODES,
            "config_invalid",
            "too_many_runs",
            "idempotency_key_reused",
            *ROW_CODES,
        ),
    },
)
def post_experiment(
    body: ExperimentRequestBody, work: WorkRequestDep, service: ServiceDep, response: Response
) -> ExperimentResponse:
    """Plan the runs, check them against the dataset version, and queue each as work of its own.

    Any number of training workers share the runs. A run that fails leaves the others valid.
    """
    request = body.to_request()
    if body.dry_run:
        plan = DryRunResponse.of(service.dry_run(request))
        return JSONResponse(plan.model_dump(mode="json"))  # pyright: ignore[reportReturnType] - FastAPI sends a Response as it is
    watched = service.post(request, work)
    response.headers["Location"] = f"/v1/experiments/{watched.experiment.id}"
    return ExperimentResponse.of(watched)


@router.get(
    "",
    dependencies=[allow(Role.ADMIN)],
    summary="List experiments",
    responses=problem_responses(*ROW_CODES),
)
def list_experiments(
    service: ServiceDep,
    cursor: Cursor,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    state: ExperimentState | None = None,
    kind: ExperimentKind | None = None,
    dataset_version_id: UUID | None = None,
) -> ExperimentPage:
    """List experiments, newest first."""
    rows = service.page(
        page_size + 1, cursor, state=state, kind=kind, dataset_version_id=dataset_version_id
    )
    items, next_cursor = cut_page(rows, page_size, lambda watched: watched.experiment)
    return ExperimentPage(
        items=[ExperimentResponse.of(row) for row in items], next_cursor=next_cursor
    )


@router.get(
    "/{experiment_id}",
    dependencies=[allow(Role.ADMIN)],
    summary="Show an experiment",
    responses=problem_responses("experiment_not_found", *ROW_CODES),
)
def get_experiment(experiment_id: UUID, service: ServiceDep) -> ExperimentResponse:
    """Show where an experiment stands."""
    return ExperimentResponse.of(service.get(experiment_id))


@router.post(
    "/{experiment_id}/cancel",
    dependencies=[allow(Role.ADMIN)],
    summary="Cancel an experiment",
    status_code=HTTPStatus.ACCEPTED,
    responses=problem_responses("experiment_not_found", *ROW_CODES),
)
def cancel_experiment(experiment_id: UUID, service: ServiceDep) -> ExperimentResponse:
    """End queued runs at once and ask running ones to stop; what is over stays as it is."""
    return ExperimentResponse.of(service.cancel(experiment_id))


@router.get(
    "/{experiment_id}/runs",
    dependencies=[allow(Role.ADMIN)],
    summary="List the runs of an experiment",
    responses=problem_responses("experiment_not_found", *ROW_CODES),
)
def list_runs(
    experiment_id: UUID,
    service: ServiceDep,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: OrderedCursor = None,
) -> RunPage:
    """List runs in the order of the plan."""
    rows = service.run_page(experiment_id, page_size + 1, cursor)
    items, next_cursor = cut_ordered_page(rows, page_size, lambda watched: watched.run.position)
    return RunPage(items=[RunResponse.of(row) for row in items], next_cursor=next_cursor)


@router.get(
    "/{experiment_id}/leaderboard",
    dependencies=[allow(Role.ADMIN)],
    summary="Rank the configurations of an experiment",
    responses=problem_responses("experiment_not_found", *ROW_CODES),
)
def get_leaderboard(experiment_id: UUID, service: ServiceDep) -> LeaderboardResponse:
    """Order them by validation Dice, mean over seeds; test cases play no part."""
    places = service.leaderboard(experiment_id)
    return LeaderboardResponse(places=[PlaceResponse.of(place) for place in places])


@router.get(
    "/{experiment_id}/events",
    dependencies=[allow(Role.ADMIN)],
    summary="Watch an experiment",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events `experiment`, `run` and `epoch`, each with the json "
            "of its resource, and `end` when every run is over. A stream begins with all there is: "
            "after a break, begin again. One without an `end` breaks off when the credentials are "
            "over.",
            "content": {EVENTS_MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        **problem_responses("experiment_not_found", "too_many_streams", *ROW_CODES),
    },
)
def get_events(
    experiment_id: UUID, service: ServiceDep, listener: ListenerDep
) -> StreamingResponse:
    """Tell every change as it comes."""
    service.get(experiment_id)
    changes = ExperimentChanges(service=service, experiment_id=experiment_id)
    return StreamingResponse(
        stream_changes(changes, listener.is_admitted),
        media_type=EVENTS_MEDIA_TYPE,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


_CSV_RESPONSES = {
    200: {
        "description": "A line for each.",
        "content": {CSV_MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    **problem_responses("experiment_not_found", *ROW_CODES),
}


@router.get(
    "/{experiment_id}/scores.csv",
    dependencies=[allow(Role.ADMIN)],
    summary="Download all scores of an experiment",
    response_class=StreamingResponse,
    responses=_CSV_RESPONSES,
)
def get_scores_csv(
    experiment_id: UUID, service: ServiceDep, dependencies: DependenciesDep
) -> StreamingResponse:
    """Send a line for every run, case and structure, as `cervicontour report` reads them."""
    service.get(experiment_id)
    lines = scores_csv(dependencies.new_unit_of_work, experiment_id)
    return StreamingResponse(lines, media_type=CSV_MEDIA_TYPE)


@router.get(
    "/{experiment_id}/epochs.csv",
    dependencies=[allow(Role.ADMIN)],
    summary="Download the curves of an experiment",
    response_class=StreamingResponse,
    responses=_CSV_RESPONSES,
)
def get_epochs_csv(
    experiment_id: UUID, service: ServiceDep, dependencies: DependenciesDep
) -> StreamingResponse:
    """Send a line for every run and epoch."""
    service.get(experiment_id)
    lines = epochs_csv(dependencies.new_unit_of_work, experiment_id)
    return StreamingResponse(lines, media_type=CSV_MEDIA_TYPE)
