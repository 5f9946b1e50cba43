"""What every route that deletes answers: the deletion's record, completed where that was quick."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Self
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.api.moments import HashedMoment
from services.core.actor import ActorKind
from services.core.audit import ResourceKind
from services.core.deletion import complete_deletion
from services.core.errors import UnavailableError
from services.core.lifecycle import DeletionCause
from services.core.logging import get_logger
from services.core.repositories.deletions import deletion_record
from services.core.storage import Storage
from services.core.tables.audit import Deletion
from services.core.unit_of_work import UnitOfWork

MOST_FILES = 5000
"""Files that a request removes itself, about a second's work; more are left to a worker."""

log = get_logger(__name__)

_EXAMPLE: JsonDict = {
    "id": "5b1e1b52-93a6-4a7e-8f0a-3c2f5f1f7d60",
    "resource_kind": "series",
    "resource_id": "7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10",
    "cause": "requested",
    "actor_kind": "api_key",
    "actor_id": "key:0f8fad5b-d9cb-469f-a165-70867728950e",
    "requested_at": "2026-11-24T08:30:00.104205Z",
    "completed_at": "2026-11-24T08:30:00.391882Z",
    "removed": {
        "series": {"folders": 1, "files": 150, "bytes": 78900000},
        "results": {"folders": 1, "files": 1, "bytes": 412034},
    },
    "rows": {"series": 1, "contour_job": 1},
    "remaining": {},
    "sha256": "9f2b5d0b3f7c5b1d2e8c3a4f6b7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "links": {"self": "/v1/deletions/5b1e1b52-93a6-4a7e-8f0a-3c2f5f1f7d60"},
}


class RemovedFiles(BaseModel):
    """Files of one kind."""

    folders: int
    files: int
    bytes: int


class DeletionLinks(BaseModel):
    """Where to find a deletion again."""

    self: str


class DeletionResponse(BaseModel):
    """What was removed, on whose word; it names nobody and stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    resource_kind: ResourceKind
    resource_id: UUID
    cause: DeletionCause
    actor_kind: ActorKind
    actor_id: str = Field(description="Who asked for it.")
    requested_at: HashedMoment = Field(description="Nothing of it was given away since.")
    completed_at: HashedMoment | None = Field(description="When the last file was gone.")
    removed: dict[str, RemovedFiles] = Field(description="By kind of folder in storage.")
    rows: dict[str, int] = Field(
        description="By kind: rows that were emptied of personal content, or removed."
    )
    remaining: dict[str, list[str]] = Field(
        description="By kind: ids of what was made of it before and stays until it is deleted."
    )
    sha256: str | None = Field(
        description="Of the completed record without `sha256` and `links`, in the canonical form "
        "of the audit trail, which repeats it."
    )
    links: DeletionLinks

    @classmethod
    def of(cls, deletion: Deletion) -> Self:
        """Show a row."""
        values: dict[str, Any] = {  # Any: fields of many types
            **deletion_record(deletion),
            "sha256": deletion.sha256,
            "links": DeletionLinks(self=f"/v1/deletions/{deletion.id}"),
        }
        return cls.model_validate(values)


DELETION_RESPONSES: dict[int | str, dict[str, Any]] = {  # Any: OpenAPI
    200: {"description": "Everything is gone."},
    202: {
        "model": DeletionResponse,
        "description": "Nothing of it is given away any more; a worker removes the files.",
    },
}
"""Of every route that deletes."""


def finish_deletion(
    new_unit_of_work: Callable[[], UnitOfWork], storage: Storage, deletion: Deletion
) -> Deletion:
    """Complete a committed deletion; one with many files, or on a storage in trouble, waits."""
    try:
        return complete_deletion(new_unit_of_work, storage, deletion.id, most_files=MOST_FILES)
    except UnavailableError as error:
        # The intent is durable: a worker goes on with it.
        log.warning("deletion waits", deletion_id=str(deletion.id), **error.context)
        return deletion


def answer_deletion(deletion: Deletion, response: Response) -> DeletionResponse:
    """Show a deletion, under the status that says whether everything is gone."""
    response.status_code = HTTPStatus.OK if deletion.completed_at else HTTPStatus.ACCEPTED
    response.headers["Location"] = f"/v1/deletions/{deletion.id}"
    return DeletionResponse.of(deletion)
