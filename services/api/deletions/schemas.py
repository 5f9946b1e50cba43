"""Deletions as the API shows them."""

from pydantic import BaseModel, Field

from services.api.removal import DeletionResponse


class DeletionPage(BaseModel):
    """A page of deletions, newest first."""

    items: list[DeletionResponse]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")
