"""Listing by cursor: newest first, stable while rows are added."""

import datetime as dt
from dataclasses import dataclass
from typing import Protocol, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped


class Listed(Protocol):
    """A table that can be listed by its rows' age."""

    created_at: Mapped[dt.datetime]
    id: Mapped[UUID]


Row = TypeVar("Row", bound=Listed)


@dataclass(frozen=True, kw_only=True, slots=True)
class PageCursor:
    """The last row of a page; the next page starts behind it."""

    created_at: dt.datetime
    id: UUID


def page_of(query: sa.Select[Row], table: type[Row], after: PageCursor | None) -> sa.Select[Row]:
    """Order a query newest first and start it behind a cursor."""
    if after is not None:
        query = query.where(
            sa.or_(
                table.created_at < after.created_at,
                sa.and_(table.created_at == after.created_at, table.id < after.id),
            )
        )
    return query.order_by(table.created_at.desc(), table.id.desc())
