"""Routes under /health."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from services.api.health.schemas import (
    CheckResponse,
    LiveResponse,
    ReadyResponse,
    ReadyStatus,
    WorkerResponse,
)
from services.api.health.service import Health
from services.api.problems import problem_responses
from services.core.version import software_version

router = APIRouter(prefix="/health", tags=["health"])


async def _health(request: Request) -> Health:  # async: strangers take no thread
    return request.app.state.health


HealthDep = Annotated[Health, Depends(_health)]


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
async def get_ready(request: Request, health: HealthDep, response: Response) -> ReadyResponse:
    """Ask database, broker, storage and workers; for load balancers and people.

    They are asked once in some seconds, however often and by however many this is. Who shows no
    credentials hears what works and what does not, and nothing about it.
    """
    is_known = getattr(request.state, "actor", None) is not None
    readiness = await health.find_readiness()
    if not readiness.is_ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return ReadyResponse(
        status=ReadyStatus.READY if readiness.is_ready else ReadyStatus.NOT_READY,
        checks={
            name: CheckResponse(ok=check.is_ok, detail=check.detail if is_known else None)
            for name, check in readiness.checks.items()
        },
        workers=[WorkerResponse.model_validate(worker) for worker in readiness.workers]
        if is_known
        else None,
    )
