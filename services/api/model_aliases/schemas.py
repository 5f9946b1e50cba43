"""Aliases as the API takes and shows them."""

import datetime as dt
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.api.texts import Comment
from services.core.lifecycle import AliasName


class AliasChangeRequest(BaseModel):
    """What an alias shall mean, and what it means as far as the sender knows."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "model_version_id": "7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10",
                    "replaces": None,
                    "reason": "agrees with production on 200 jobs",
                }
            ]
        },
    )

    model_version_id: UUID | None = Field(
        description="Null: the packaged or configured weights for production, no shadow at all."
    )
    replaces: UUID | None = Field(description="What the alias means now; else 409 alias_changed.")
    reason: Comment | None = None


class RollbackRequest(BaseModel):
    """Why the alias goes back."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "bladders came out small"}]}
    )

    reason: Comment | None = None


class ModelAliasResponse(BaseModel):
    """What an alias means now."""

    model_config = ConfigDict(from_attributes=True)

    alias: AliasName
    model_version_id: UUID | None = Field(
        description="Null: the packaged or configured weights for production, no shadow at all."
    )
    revision: int = Field(description="Changes so far.")
    changed_at: dt.datetime | None


class ModelAliasList(BaseModel):
    """Every alias."""

    items: list[ModelAliasResponse]


class ModelAliasChangeResponse(BaseModel):
    """One change of an alias."""

    model_config = ConfigDict(from_attributes=True)

    alias: AliasName
    revision: int
    model_version_id: UUID | None
    replaced_id: UUID | None
    is_rollback: bool
    reason: str | None
    created_at: dt.datetime


class ModelAliasHistory(BaseModel):
    """A page of changes, newest first."""

    items: list[ModelAliasChangeResponse]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")
