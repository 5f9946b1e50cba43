"""Who follows the events of an experiment, for as long as it may."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.exc import SQLAlchemyError

from services.api.access.gate import Gate
from services.api.slots import Slots
from services.core.errors import ServiceError


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """The client behind a request that may go on for days."""

    request: Request

    async def is_admitted(self) -> bool:
        """Tell whether its credentials would be let in now, in the same role.

        Also not while nobody can tell, or with too many requests: it may begin again.
        """
        gate: Gate = self.request.app.state.gate
        client = self.request.client
        try:
            actor = await gate.admit(self.request.scope["headers"], client and client.host)
        except (ServiceError, SQLAlchemyError):
            return False
        return actor.role is self.request.state.actor.role


async def _listener(request: Request) -> AsyncGenerator[Listener]:
    slots: Slots = request.app.state.stream_slots
    with slots.taken(request.state.actor.id):
        yield Listener(request=request)


ListenerDep = Annotated[Listener, Depends(_listener)]
