"""Route /v1/autocontour."""

from http import HTTPStatus
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Response

from services.api.access.roles import allow
from services.api.autocontour.schemas import AutocontourResponse
from services.api.autocontour.service import AutocontourService
from services.api.dependencies import DependenciesDep, WorkRequestDep
from services.api.problems import (
    KEY_CODES,
    ROW_CODES,
    STORAGE_CODES,
    UPLOAD_CODES,
    problem_responses,
)
from services.api.series.checking import check_upload
from services.api.uploads.http import UPLOAD_REQUEST_BODY, UploadBody
from services.api.uploads.stream import received_upload
from services.core.actor import Role

router = APIRouter(prefix="/v1/autocontour", tags=["autocontour"])


def _service(dependencies: DependenciesDep) -> AutocontourService:
    return AutocontourService(dependencies.new_unit_of_work, dependencies.storage)


ServiceDep = Annotated[AutocontourService, Depends(_service)]


@router.post(
    "",
    dependencies=[allow(Role.SUBMITTER)],
    summary="Post a CT series and contour it",
    status_code=HTTPStatus.ACCEPTED,
    response_description="Stored and queued. Location is the job.",
    responses=problem_responses(
        *UPLOAD_CODES, *STORAGE_CODES, "idempotency_key_reused", *KEY_CODES, *ROW_CODES
    ),
    openapi_extra=UPLOAD_REQUEST_BODY,
)
async def post_autocontour(
    body: UploadBody,
    dependencies: DependenciesDep,
    request: WorkRequestDep,
    service: ServiceDep,
    response: Response,
) -> AutocontourResponse:
    """Do in one request what POST /v1/series and POST /v1/contour-jobs do in two.

    `curl -F file=@ct.zip …/v1/autocontour`, poll Location, then get its `/rtstruct`.
    """
    async with received_upload(body, dependencies.storage, dependencies.upload_limits) as upload:
        checked = await dependencies.bounded.run(
            dependencies.order(upload.byte_count), check_upload, upload, dependencies.deidentifier
        )
        made = await to_thread.run_sync(
            service.post, checked, request, limiter=dependencies.validation_slots
        )
    response.headers["Location"] = f"/v1/contour-jobs/{made.watched.job.id}"
    return AutocontourResponse.of(made)
