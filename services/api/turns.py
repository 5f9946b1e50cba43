"""Turns at something scarce, fair between clients."""

from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from anyio import Event, get_cancelled_exc_class


class Turns:
    """So many at a time; of those who wait, the client that has the fewest comes first.

    A client alone may have all of them. However many others it lets wait, one that comes along has
    the next that becomes free. Used from the event loop alone.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[Event]] = OrderedDict()

    @asynccontextmanager
    async def taken(self, client: str) -> AsyncGenerator[None]:
        """Wait for a turn of the client, which lasts while the context is open."""
        await self._take(client)
        try:
            yield
        finally:
            self._give_back(client)

    async def _take(self, client: str) -> None:
        turn = Event()
        self._waiting.setdefault(client, deque()).append(turn)
        self._hand_out()
        try:
            await turn.wait()
        except get_cancelled_exc_class():
            if turn.is_set():
                self._give_back(client)
            else:
                self._remove(client, turn)
            raise

    def _give_back(self, client: str) -> None:
        self._free += 1
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]
        self._put_behind(client)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._free and self._waiting:
            client = min(self._waiting, key=self._held.__getitem__)
            turn = self._waiting[client][0]
            self._remove(client, turn)
            self._put_behind(client)
            self._free -= 1
            self._held[client] += 1
            turn.set()

    def _put_behind(self, client: str) -> None:
        """Have others come first among those that have as few turns."""
        if client in self._waiting:
            self._waiting.move_to_end(client)

    def _remove(self, client: str, turn: Event) -> None:
        self._waiting[client].remove(turn)
        if not self._waiting[client]:
            del self._waiting[client]
