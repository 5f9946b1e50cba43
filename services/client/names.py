"""Names where the service wants ids."""

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

from services.client.errors import NoSuchNameError


class Named(Protocol):
    """Something with an id that people call by a name."""

    @property
    def id(self) -> UUID:
        """As the service knows it."""
        ...

    @property
    def name(self) -> str:
        """As people know it."""
        ...


def id_of(kind: str, name: str, listed: Iterable[Named]) -> UUID:
    """Return the id of the first thing of a name, or the id that stands there itself.

    Args:
        kind: what it is, for people.
        name: a name or an id.
        listed: looked through only for a name.

    Raises:
        NoSuchNameError: there is none.
    """
    try:
        return UUID(name)
    except ValueError:
        pass
    for found in listed:
        if found.name == name:
            return found.id
    raise NoSuchNameError(kind, name)
