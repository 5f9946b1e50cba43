"""Routes of reports on contours, /v1/reports/acceptability and /v1/reports/drift."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response

from services.api.access.roles import allow
from services.api.dependencies import DependenciesDep
from services.api.problems import ROW_CODES, problem_responses
from services.api.quality.schemas import (
    AcceptabilityQuery,
    AcceptabilityResponse,
    DriftGroupResponse,
    DriftQuery,
    DriftResponse,
)
from services.api.quality.service import QualityService
from services.api.quality.tables import (
    CSV_MEDIA_TYPE,
    acceptability_csv,
    drift_csv,
    wants_csv,
)
from services.core.actor import Role

router = APIRouter(prefix="/v1/reports", tags=["quality"])

VARIES = {"Vary": "Accept"}


def _service(dependencies: DependenciesDep) -> QualityService:
    return QualityService(dependencies.new_unit_of_work)


ServiceDep = Annotated[QualityService, Depends(_service)]
Accept = Annotated[str | None, Header(description="text/csv for a table.")]


def _responses(*codes: str) -> dict[int | str, dict[str, Any]]:  # Any: OpenAPI
    table = {"content": {CSV_MEDIA_TYPE: {"schema": {"type": "string"}}}}
    return {200: table, **problem_responses(*codes)}


@router.get(
    "/acceptability",
    dependencies=[allow(Role.REVIEWER)],
    summary="Count what readers say of contours",
    response_model=AcceptabilityResponse,
    responses=_responses(*ROW_CODES),
)
def get_acceptability(
    query: Annotated[AcceptabilityQuery, Query()],
    service: ServiceDep,
    response: Response,
    accept: Accept = None,
) -> Response | AcceptabilityResponse:
    """Count grades by structure and group, with percentages and the mean over structures.

    Only the latest review of a reader for a job counts. Beside it stands how far readers agree:
    for every pair of them with slices that both graded, the share of equal grades and Cohen's
    kappa, weighted linearly and by squares. As CSV comes the table of grades alone.
    """
    report = service.acceptability(query.filter(), query.keys())
    if wants_csv(accept):
        return _table(acceptability_csv(report))
    response.headers.update(VARIES)
    return AcceptabilityResponse.of(report)


@router.get(
    "/drift",
    dependencies=[allow(Role.REVIEWER)],
    summary="Show how contours change",
    response_model=DriftResponse,
    responses=_responses(*ROW_CODES),
)
def get_drift(
    query: Annotated[DriftQuery, Query()],
    service: ServiceDep,
    response: Response,
    accept: Accept = None,
) -> Response | DriftResponse:
    """Show, by month or weights, how jobs fared.

    What readers say of them, how far they were edited, their QA warnings, and how far the shadow
    version disagrees. All of it is counted to the month in which the contours were asked for.
    """
    groups = service.drift(query.by)
    if wants_csv(accept):
        return _table(drift_csv(query.by, groups))
    response.headers.update(VARIES)
    return DriftResponse(by=query.by, groups=[DriftGroupResponse.of(group) for group in groups])


def _table(text: str) -> Response:
    return Response(text, media_type=CSV_MEDIA_TYPE, headers=VARIES)
