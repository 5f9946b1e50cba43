"""The route that Prometheus scrapes."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from services.api.access.roles import allow
from services.api.metrics.schemas import MetricsResponse
from services.api.metrics.service import Metrics
from services.api.problems import problem_responses
from services.core.actor import Role

router = APIRouter(tags=["health"])


def _metrics(request: Request) -> Metrics:
    return request.app.state.metrics


MetricsDep = Annotated[Metrics, Depends(_metrics)]


@router.get(
    "/metrics",
    dependencies=[allow(Role.MONITOR)],
    summary="Figures for Prometheus",
    response_class=MetricsResponse,
    responses=problem_responses(),
)
async def get_metrics(metrics: MetricsDep) -> MetricsResponse:
    """Answer in Prometheus' text format, also while database, broker or storage are away or hang.

    What is not of this process itself is read once in some seconds, however often it is asked for.
    What does not answer within 4 seconds has no figures then.
    """
    return MetricsResponse(await metrics.text())
