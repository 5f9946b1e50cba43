"""API keys as the API shows them."""

import datetime as dt
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.api.api_keys.service import DrawnKey
from services.api.texts import ClientName
from services.core.actor import ActorKind, Role

MAX_DAYS = 3650

Days = Annotated[int, Field(ge=1, le=MAX_DAYS, description="How long the key is valid.")]


class ApiKeyRequest(BaseModel):
    """A key that is wanted."""

    model_config = ConfigDict(extra="forbid")

    name: ClientName = Field(description="For people: where the key is used.")
    role: Role
    days: Days | None = Field(
        default=None, description="How long the key is valid; else as the service is set up."
    )


class RenewalRequest(BaseModel):
    """Another key for a client."""

    model_config = ConfigDict(extra="forbid")

    days: Days | None = Field(
        default=None, description="How long the key is valid; else as the service is set up."
    )


class ApiKeyResponse(BaseModel):
    """What is known of a key; not the key itself."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    client_id: UUID = Field(description="The same for every key of one client.")
    name: str
    role: Role
    created_at: dt.datetime
    created_by: str
    expires_at: dt.datetime | None = Field(description="Null for a key that never expires.")
    revoked_at: dt.datetime | None
    last_used_at: dt.datetime | None = Field(description="To the minute.")


class DrawnKeyResponse(ApiKeyResponse):
    """A new key, shown this once."""

    key: str = Field(description="Keep it: it cannot be shown again.")

    @classmethod
    def of(cls, drawn: DrawnKey) -> Self:
        """Show a new key."""
        known = ApiKeyResponse.model_validate(drawn.row)
        return cls(**known.model_dump(), key=drawn.key)


class ApiKeyPage(BaseModel):
    """A page of keys, newest first."""

    items: list[ApiKeyResponse]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


class MeResponse(BaseModel):
    """Whoever asks, as the service knows them."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(description="What submitted jobs and reviews are noted under.")
    kind: ActorKind
    name: str
    role: Role | None
    software_version: str
