"""Texts of senders that databases, logs and tables can keep."""

from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from services.core.names import MAX_NAME_LENGTH, checked_name

_NO_CONTROLS = r"^[^\x00-\x1f\x7f]+$"

ReaderName = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=MAX_NAME_LENGTH, pattern=_NO_CONTROLS
    ),
    AfterValidator(checked_name),
]
"""Who read the contours; as the site names its readers."""

ClientName = ReaderName
"""Where an API key is used; as the site names its systems."""

ShortText = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_NO_CONTROLS)]
"""One line."""

SoughtText = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")]
"""What may stand in a row; PostgreSQL compares nothing with a zero."""

Comment = Annotated[str, StringConstraints(max_length=4000, pattern=r"^[^\x00]*$")]
"""Lines for people; PostgreSQL keeps everything but a zero."""
