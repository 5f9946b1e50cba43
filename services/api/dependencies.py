"""What routes are given: built once by main, handed out by type."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Header, Request

from services.api.idempotency import MAX_KEY_LENGTH, WorkRequest
from services.api.uploads.limits import UploadLimits
from services.core.queue import JobQueue
from services.core.storage import Storage
from services.core.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependencies:
    """Everything a request may need; nothing in it knows of a request."""

    new_unit_of_work: Callable[[], UnitOfWork]
    storage: Storage
    queue: JobQueue
    upload_limits: UploadLimits
    """Of one CT series."""
    dataset_upload_limits: UploadLimits
    """Of many cases."""
    model_limits: UploadLimits
    """Of an imported model version."""
    max_attempts: int
    """Starts of one job before it fails."""
    datasets_dir: Path | None
    """Where folders of cases are mounted that may be registered."""
    worker_silent_seconds: float
    """A worker that reported itself longer ago than this counts as gone."""
    validation_slots: CapacityLimiter
    """How many uploads are unpacked and validated at a time."""
    dataset_slots: CapacityLimiter
    """The same for uploads of many cases, so that no single series waits for them."""


def _dependencies(request: Request) -> Dependencies:
    return request.app.state.dependencies


def _correlation_id(request: Request) -> str:
    return request.state.correlation_id


DependenciesDep = Annotated[Dependencies, Depends(_dependencies)]
CorrelationId = Annotated[str, Depends(_correlation_id)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_KEY_LENGTH,
        description="Any text of your own. The same request with the same key again returns what "
        "the first one made; a different request with it is refused.",
        examples=["3f1c9a52-plan-1"],
    ),
]


def _work_request(
    dependencies: DependenciesDep,
    correlation_id: CorrelationId,
    idempotency_key: IdempotencyKey = None,
) -> WorkRequest:
    return WorkRequest(
        correlation_id=correlation_id,
        max_attempts=dependencies.max_attempts,
        idempotency_key=idempotency_key,
    )


WorkRequestDep = Annotated[WorkRequest, Depends(_work_request)]
