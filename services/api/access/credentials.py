"""What a request shows to be let in."""

import re
from collections.abc import Iterable

from services.api.access.errors import UnauthenticatedError

MAX_HEADER_BYTES = 8192
"""Of the Authorization header: a token with a hundred groups has about 4 kB."""
_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/=-]+) *", re.IGNORECASE)
"""RFC 6750, 2.1."""


def has_credentials(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether a request tries to say who sends it."""
    return any(name == b"authorization" for name, _ in headers)


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the key or token of a request; nothing but the Authorization header may hold it.

    Addresses end up in the logs of proxies and in the history of browsers, so none is looked for
    there.

    Raises:
        UnauthenticatedError: there is none, or not exactly one.
    """
    values = [value for name, value in headers if name == b"authorization"]
    if not values:
        raise UnauthenticatedError("no_credentials")
    if len(values) > 1:  # which one counts would depend on who looks
        raise UnauthenticatedError("several_credentials")
    if len(values[0]) > MAX_HEADER_BYTES:
        raise UnauthenticatedError("oversized_credentials")
    match = _BEARER.fullmatch(values[0])
    if match is None:
        raise UnauthenticatedError("malformed_credentials")
    return match[1].decode("ascii")
