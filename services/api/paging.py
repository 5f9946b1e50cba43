"""Cursors of lists, as opaque text in addresses."""

import base64
import binascii
import datetime as dt
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from fastapi.exceptions import RequestValidationError

from services.api.moments import in_utc
from services.core.repositories.paging import Listed, PageCursor

MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50

OrderedCursor = Annotated[
    int | None,
    Query(alias="cursor", ge=0, le=2**62, description="`next_cursor` of the page before."),
]
"""Of a list whose rows have positions."""

PageSize = Annotated[int, Query(alias="limit", ge=1, le=MAX_PAGE_SIZE, description="Items a page.")]


Item = TypeVar("Item")


def cut_page(
    found: Sequence[Item], page_size: int, row_of: Callable[[Item], Listed]
) -> tuple[Sequence[Item], str | None]:
    """Return a page of what was read one row beyond it, and the cursor of the next if there is one.

    row_of: the row behind an item.
    """
    page = found[:page_size]
    if len(found) <= page_size:
        return page, None
    last = row_of(page[-1])
    return page, encode_cursor(PageCursor(created_at=last.created_at, id=last.id))


def cut_ordered_page(
    found: Sequence[Item], page_size: int, position_of: Callable[[Item], int]
) -> tuple[Sequence[Item], int | None]:
    """Do the same with rows that have a position of their own: it is the cursor."""
    page = found[:page_size]
    return page, position_of(page[-1]) if len(found) > page_size else None


def encode_cursor(cursor: PageCursor) -> str:
    """Return the text from which decode_cursor makes the same cursor."""
    text = f"{cursor.created_at.isoformat()}|{cursor.id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _decode_cursor(
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> PageCursor | None:
    if cursor is None:
        return None
    try:
        moment, _, row_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
        created_at = in_utc(dt.datetime.fromisoformat(moment))
        return PageCursor(created_at=created_at, id=UUID(row_id))
    except (ValueError, binascii.Error) as error:
        raise _invalid() from error


def _invalid() -> RequestValidationError:
    return RequestValidationError(
        [{"loc": ("query", "cursor"), "msg": "not a cursor of this service", "type": "cursor"}]
    )


Cursor = Annotated[PageCursor | None, Depends(_decode_cursor)]
