"""The cases of a version as a table that spreadsheets open."""

import csv
import io
import json
from collections.abc import Iterable, Iterator

from services.core.tables.datasets import DatasetCase

COLUMNS = (
    "position",
    "name",
    "status",
    "case_id",
    "patient",
    "part",
    "code",
    "message",
    "facts",
    "notes",
    "unmatched_names",
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets would calculate instead of showing."""


def case_table(cases: Iterable[DatasetCase]) -> Iterator[str]:
    """Yield the lines of a csv, the head first; nested values as json."""
    yield _line(COLUMNS)
    for case in cases:
        yield _line([_cell(getattr(case, name)) for name in COLUMNS])


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    # names come from senders: a spreadsheet must not run one
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _line(cells: Iterable[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()
