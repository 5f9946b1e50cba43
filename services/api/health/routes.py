"""Routes under /health."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from services.api.dependencies import DependenciesDep
from services.api.health.schemas import (
    CheckResponse,
    LiveResponse,
    ReadyResponse,
    ReadyStatus,
    WorkerResponse,
)
from services.api.health.service import find_readiness
from services.api.problems import problem_responses
from services.core.version import software_version

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="Is the process alive?", responses=problem_responses())
async def get_live() -> LiveResponse:
    """Answer without asking anything else; for whoever restarts processes."""
    return LiveResponse(status="live", software_version=software_version())


@router.get(
    "/ready",
    summary="Would a job posted now be contoured?",
    responses={
        503: {"model": ReadyResponse, "description": "Something is missing; `checks` says what."},
        **problem_responses(),
    },
)
async def get_ready(dependencies: DependenciesDep, response: Response) -> ReadyResponse:
    """Ask database, broker, storage and workers; for load balancers and people."""
    readiness = await find_readiness(dependencies)
    if not readiness.is_ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return ReadyResponse(
        status=ReadyStatus.READY if readiness.is_ready else ReadyStatus.NOT_READY,
        checks={
            name: CheckResponse(ok=check.is_ok, detail=check.detail)
            for name, check in readiness.checks.items()
        },
        workers=[WorkerResponse.model_validate(worker) for worker in readiness.workers],
    )
