"""Cursors of lists, as opaque text in addresses."""

import base64
import binascii
import datetime as dt
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from fastapi.exceptions import RequestValidationError

from services.core.repositories.paging import PageCursor

MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50

PageSize = Annotated[int, Query(alias="limit", ge=1, le=MAX_PAGE_SIZE, description="Items a page.")]


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
        found = PageCursor(created_at=dt.datetime.fromisoformat(moment), id=UUID(row_id))
    except (ValueError, binascii.Error) as error:
        raise _invalid() from error
    if found.created_at.tzinfo is None:
        raise _invalid()
    return found


def _invalid() -> RequestValidationError:
    return RequestValidationError(
        [{"loc": ("query", "cursor"), "msg": "not a cursor of this service", "type": "cursor"}]
    )


Cursor = Annotated[PageCursor | None, Depends(_decode_cursor)]
