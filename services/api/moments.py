"""Moments: of senders, as databases can compare them; of records, as they were hashed."""

import datetime as dt
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, PlainSerializer, WithJsonSchema

from services.core.audit_chain import canonical_moment


def in_utc(moment: dt.datetime) -> dt.datetime:
    """Return an aware moment in UTC.

    Raises:
        ValueError: it has no time zone, or lies outside the years 1 to 9999 in UTC.
    """
    if moment.tzinfo is None:
        raise ValueError("a moment needs its time zone")
    try:
        return moment.astimezone(dt.UTC)
    except OverflowError as error:
        raise ValueError("a moment lies in the years 1 to 9999 in UTC") from error


Moment = Annotated[AwareDatetime, AfterValidator(in_utc)]
"""With its time zone."""

HashedMoment = Annotated[
    dt.datetime,
    PlainSerializer(canonical_moment, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""Of a record that is shown with its hash: in the text that was hashed, to the microsecond even
where that is 0."""
