"""What routes are given: built once by main, handed out by type."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Header, Request

from services.api.bounded import BoundedWork, WorkOrder
from services.api.idempotency import MAX_KEY_LENGTH, WorkRequest
from services.api.identities import Identities
from services.api.telemetry import Telemetry
from services.api.uploads.limits import UploadLimits
from services.core.actor import SYSTEM, Actor
from services.core.queue import JobQueue
from services.core.storage import Storage
from services.core.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependencies:
    """Everything a request may need; nothing in it knows of a request."""

    unit_of_work_of: Callable[[Actor], UnitOfWork]
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
    api_key_days: int
    """How long a new API key is valid when nobody says otherwise."""
    datasets_dir: Path | None
    """Where folders of cases are mounted that may be registered."""
    worker_silent_seconds: float
    """A worker that reported itself longer ago than this counts as gone."""
    validation_slots: CapacityLimiter
    """How many uploads of one series, RTSTRUCT or model are brought into storage at a time."""
    dataset_slots: CapacityLimiter
    """The same for uploads of many cases, so that no single series waits for them."""
    bounded: BoundedWork
    """Where uploads are unpacked and parsed."""
    relink_bounded: BoundedWork
    """Where results are linked back to their patient, so that no download waits for uploads."""
    dataset_bounded: BoundedWork
    """The same for uploads of many cases."""
    telemetry: Telemetry
    """What this process counts of itself."""
    deidentifies_series: bool = False
    """Whether CT series are stored without their patient."""
    actor: Actor = SYSTEM
    """On whose behalf transactions are made; of the request, once it is known."""

    @property
    def deidentifier(self) -> Identities | None:
        """What takes the patient out of a CT series before it is stored, if anything does."""
        return Identities(self.storage) if self.deidentifies_series else None

    def order(self, byte_count: int) -> WorkOrder:
        """Describe work on so many received bytes for the actor."""
        return WorkOrder(client=self.actor.id, byte_count=byte_count)

    def new_unit_of_work(self) -> UnitOfWork:
        """Make a transaction on behalf of the actor."""
        return self.unit_of_work_of(self.actor)


def _dependencies(request: Request) -> Dependencies:
    dependencies: Dependencies = request.app.state.dependencies
    actor: Actor | None = getattr(request.state, "actor", None)
    return dependencies if actor is None else replace(dependencies, actor=actor)


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
        pattern=r"^[^\x00]+$",
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
