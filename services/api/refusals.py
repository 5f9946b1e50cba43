"""Refused requests in the audit trail: counted, and written once a minute.

Who tries keys a thousand times a second would otherwise fill the trail, and have everybody else
wait for its head. The log has a line for every one of them.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError

from services.core.actor import Actor, ActorKind
from services.core.audit import Action, ResourceKind
from services.core.logging import get_logger
from services.core.unit_of_work import UnitOfWork

REFUSAL_SECONDS = 60.0
"""Between two writings; a process that is killed loses the counts of so long."""
MOST_ACTORS = 20
"""Actors that are told apart in one writing; the others count as unknown."""
MOST_ADDRESSES = 1000
"""Addresses that are told apart for an actor."""

UNKNOWN = Actor(kind=ActorKind.SYSTEM, id="unknown", name="unknown", role=None)
"""Who shows no valid credentials."""

log = get_logger(__name__)


@dataclass(kw_only=True, slots=True)
class _Count:
    actor: Actor
    """As of the last request."""
    requests: int = 0
    addresses: set[str] = field(default_factory=set[str])


class RefusalTally:
    """How often whom was refused since the last writing."""

    def __init__(self, unit_of_work_of: Callable[[Actor], UnitOfWork]) -> None:
        self._unit_of_work_of = unit_of_work_of
        self._lock = threading.Lock()
        self._counts: dict[str, _Count] = {}

    def note(self, actor: Actor | None, address: str | None) -> None:
        """Count a refused request.

        Args:
            actor: who was known but lacked the right; None: without valid credentials.
            address: that it came from.
        """
        who = actor or UNKNOWN
        with self._lock:
            if who.id not in self._counts and len(self._counts) >= MOST_ACTORS:
                who = UNKNOWN
            count = self._counts.setdefault(who.id, _Count(actor=who))
            count.actor = who
            count.requests += 1
            if address is not None and len(count.addresses) < MOST_ADDRESSES:
                count.addresses.add(address)

    def write(self) -> None:
        """Write an entry for everyone who was refused, and begin anew; blocks."""
        with self._lock:
            counts, self._counts = self._counts, {}
        for count in counts.values():
            with self._unit_of_work_of(count.actor) as uow:
                uow.audit.record(
                    Action.ACCESS_REFUSED,
                    ResourceKind.SERVICE,
                    None,
                    requests=count.requests,
                    addresses=len(count.addresses),
                )
                uow.commit()

    async def write_if_possible(self) -> None:
        """Write; counts that the database does not take are in the log alone."""
        try:
            await to_thread.run_sync(self.write)
        except SQLAlchemyError as error:
            log.warning("refusals unwritten", reason=type(error).__name__)

    async def write_until_cancelled(self) -> None:
        """Write once a minute."""
        while True:
            await asyncio.sleep(REFUSAL_SECONDS)
            await self.write_if_possible()
