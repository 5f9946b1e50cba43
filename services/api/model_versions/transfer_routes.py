"""Routes by which model versions leave this service and enter another one."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from services.api.access.roles import allow
from services.api.dependencies import DependenciesDep, WorkRequestDep
from services.api.model_versions.archive import ModelName, read_archive
from services.api.model_versions.schemas import (
    DEFAULT_CASES,
    DEFAULT_MARGIN,
    CaseCount,
    ModelVersionResponse,
    Share,
)
from services.api.model_versions.service import Evaluation, Minimum, ModelVersionService
from services.api.model_versions.transfer import ImportTerms, TransferService
from services.api.problems import (
    MANY_FILES_CODES,
    ROW_CODES,
    STORAGE_CODES,
    problem_responses,
)
from services.api.removal import DELETION_RESPONSES, DeletionResponse, answer_deletion
from services.api.texts import Comment
from services.api.uploads.http import UploadBody
from services.api.uploads.stream import received_upload
from services.core.actor import Role

ZIP_MEDIA_TYPE = "application/zip"

router = APIRouter(prefix="/v1/model-versions", tags=["model versions"])

_BINARY = {"type": "string", "format": "binary"}
_REQUEST_BODY: dict[str, Any] = {  # Any: OpenAPI
    "requestBody": {
        "required": True,
        "description": "What an export gave, as it is or as the one file of a form.",
        "content": {
            ZIP_MEDIA_TYPE: {"schema": _BINARY},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": _BINARY},
                }
            },
        },
    }
}


class ImportQuery(BaseModel):
    """What the import is called and judged by."""

    model_config = ConfigDict(extra="forbid")

    name: ModelName | None = Field(None, description="Instead of the exported one.")
    dataset_version_id: UUID | None = Field(
        None, description="Whose test cases it is judged on; a generated phantom without one."
    )
    evaluation_cases: CaseCount = Field(DEFAULT_CASES, description="Of those test cases.")
    margin: Share = Field(
        DEFAULT_MARGIN, description="Mean Dice by which production may be better on them."
    )
    notes: Comment | None = None

    def terms(self) -> ImportTerms:
        """Return them in the words of the domain."""
        evaluation = Evaluation(
            minimum=Minimum(), cases=self.evaluation_cases, margin=self.margin, notes=self.notes
        )
        return ImportTerms(
            name=self.name, dataset_version_id=self.dataset_version_id, evaluation=evaluation
        )


def _service(dependencies: DependenciesDep) -> TransferService:
    return TransferService(dependencies.new_unit_of_work, dependencies.storage)


ServiceDep = Annotated[TransferService, Depends(_service)]


@router.post(
    "/import",
    dependencies=[allow(Role.ADMIN)],
    summary="Import a model version",
    status_code=HTTPStatus.ACCEPTED,
    response_description="Queued. Location is the model version.",
    responses=problem_responses(
        *MANY_FILES_CODES,
        *STORAGE_CODES,
        "model_archive_invalid",
        "structures_differ",
        "model_version_exists",
        "dataset_version_not_found",
        "dataset_not_ready",
        "dataset_purged",
        "idempotency_key_reused",
        *ROW_CODES,
    ),
    openapi_extra=_REQUEST_BODY,
)
async def import_model_version(
    body: UploadBody,
    query: Annotated[ImportQuery, Query()],
    dependencies: DependenciesDep,
    request: WorkRequestDep,
    service: ServiceDep,
    response: Response,
) -> ModelVersionResponse:
    """Make a model version of an exported one; a worker checks it before it may serve."""
    versions = ModelVersionService(dependencies.new_unit_of_work)
    async with received_upload(body, dependencies.storage, dependencies.model_limits) as upload:
        archive = await dependencies.bounded.run(
            dependencies.order(upload.byte_count), read_archive, upload
        )
        version_id = await to_thread.run_sync(
            service.import_,
            archive,
            query.terms(),
            request,
            limiter=dependencies.validation_slots,
        )
    shown = await to_thread.run_sync(versions.get, version_id)
    response.headers["Location"] = f"/v1/model-versions/{version_id}"
    return ModelVersionResponse.of(shown.shown)


@router.get(
    "/{model_version_id}/export",
    dependencies=[allow(Role.ADMIN)],
    summary="Export a model version",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A zip of weights, card and manifest; equal versions, equal bytes.",
            "content": {ZIP_MEDIA_TYPE: {"schema": _BINARY}},
        },
        **problem_responses(
            "model_version_not_found",
            "model_version_not_ready",
            "model_version_purged",
            "stored_files_missing",
            "weights_changed",
            *ROW_CODES,
        ),
    },
)
def export_model_version(model_version_id: UUID, service: ServiceDep) -> StreamingResponse:
    """Stream the version as one file, which POST /v1/model-versions/import takes."""
    exported = service.export(model_version_id)
    return StreamingResponse(
        exported.pieces,
        media_type=ZIP_MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{exported.name}.zip"'},
    )


@router.delete(
    "/{model_version_id}",
    dependencies=[allow(Role.ADMIN)],
    summary="Delete a retired model version",
    responses={
        **DELETION_RESPONSES,
        **problem_responses("model_version_not_found", "model_version_not_retired", *ROW_CODES),
    },
)
def delete_model_version(
    model_version_id: UUID, service: ServiceDep, response: Response
) -> DeletionResponse:
    """Delete weights, card and notes, and what it contoured as a shadow.

    Name, hash and checks stay, for RTSTRUCTs name the version; its run keeps its own weights.
    """
    return answer_deletion(service.delete(model_version_id), response)
