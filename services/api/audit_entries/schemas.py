"""The audit trail as the API shows it."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.api.moments import HashedMoment
from services.core.actor import ActorKind, Role
from services.core.audit import Action, ResourceKind
from services.core.audit_chain import ChainHead
from services.core.tables.audit import AuditEntry

_EXAMPLE: JsonDict = {
    "sequence": 4711,
    "at": "2026-11-24T08:30:00.104205Z",
    "actor_kind": "api_key",
    "actor_id": "key:0f8fad5b-d9cb-469f-a165-70867728950e",
    "actor_name": "planning system 2",
    "role": "submitter",
    "address": "10.1.2.3",
    "correlation_id": "0f8fad5bd9cb469fa16570867728950e",
    "action": "rtstruct_read",
    "resource_kind": "contour_job",
    "resource_id": "2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11",
    "facts": {},
    "previous_sha256": "9f2b5d0b3f7c5b1d2e8c3a4f6b7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "sha256": "1d2e8c3a4f6b7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f99f2b5d0b3f7c5b",
}


class AuditEntryResponse(BaseModel):
    """One thing that somebody did."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_EXAMPLE]})

    sequence: int = Field(description="From 1, without a gap.")
    at: HashedMoment
    actor_kind: ActorKind
    actor_id: str
    actor_name: str
    role: Role | None
    address: str | None = Field(description="Network address the request came from.")
    correlation_id: str | None = Field(description="Finds the log lines of the request.")
    action: Action
    resource_kind: ResourceKind
    resource_id: str | None
    facts: dict[str, Any] = Field(description="Ids, codes and counts.")  # Any: json
    previous_sha256: str
    sha256: str


class AuditEntryPage(BaseModel):
    """A page of entries, newest first."""

    items: list[AuditEntryResponse]
    next_cursor: int | None = Field(description="`cursor` of the next page; null on the last.")

    @classmethod
    def of(cls, rows: list[AuditEntry], next_cursor: int | None) -> Self:
        """Show rows."""
        items = [AuditEntryResponse.model_validate(row) for row in rows]
        return cls(items=items, next_cursor=next_cursor)


class AuditHeadResponse(BaseModel):
    """The end of the trail, to be written down elsewhere."""

    sequence: int = Field(description="Of the last entry; 0 while there is none.")
    sha256: str
    text: str = Field(
        description="What `cervicontour-admin audit verify --expect-head` takes.",
        examples=["4711:1d2e8c3a4f6b7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f99f2b5d0b3f7c5b"],
    )

    @classmethod
    def of(cls, head: ChainHead) -> Self:
        """Show a head."""
        return cls(sequence=head.sequence, sha256=head.sha256, text=str(head))
