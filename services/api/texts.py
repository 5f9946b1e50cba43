"""Texts of senders that databases, logs and tables can keep."""

from typing import Annotated

from pydantic import StringConstraints

_NO_CONTROLS = r"^[^\x00-\x1f\x7f]+$"

ReaderName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=_NO_CONTROLS),
]
"""Who read the contours; as the site names its readers."""

ShortText = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_NO_CONTROLS)]
"""One line."""

Comment = Annotated[str, StringConstraints(max_length=4000, pattern=r"^[^\x00]*$")]
"""Lines for people; PostgreSQL keeps everything but a zero."""
