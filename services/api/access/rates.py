"""How often somebody may do something, in memory that does not grow with the number of somebodies.

The generic cell rate algorithm: of each client one moment is kept, the one at which all of its
requests so far would have been sent had it kept to its rate. The library `limits` does the same,
but keeps its windows without a bound, which is just what many addresses would fill, and starts a
thread to clean them up.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CLIENTS = 50_000
"""Moments that are kept, 10 MB at most; beyond, the one that was quiet for longest is forgotten."""
MINUTE_SECONDS = 60.0


class RateLimiter:
    """So many a minute, of each client; a minute's worth may come at once.

    Used from the event loop alone. Each process of the API counts for itself.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        max_clients: int = MAX_CLIENTS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe the limit.

        Args:
            per_minute: 0 for no limit.
            max_clients: of which is known what they did.
            now: seconds that never go back.
        """
        self._per_minute = per_minute
        self._max_clients = max_clients
        self._now = now
        self._moments: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Return of how many clients something is known."""
        return len(self._moments)

    def wait_seconds(self, client: str) -> int:
        """Return after how many seconds the client may go on; 0 for now. Counts nothing."""
        if self._per_minute == 0:
            return 0
        ahead = self._moments.get(client, 0.0) - self._now()
        over = ahead + MINUTE_SECONDS / self._per_minute - MINUTE_SECONDS
        return max(1, math.ceil(over)) if over > 1e-9 else 0

    def count(self, client: str) -> None:
        """Count one more of the client's."""
        if self._per_minute == 0:
            return
        moment = max(self._moments.get(client, 0.0), self._now())
        self._moments[client] = moment + MINUTE_SECONDS / self._per_minute
        self._moments.move_to_end(client)
        if len(self._moments) > self._max_clients:
            self._moments.popitem(last=False)

    def take_back(self, client: str) -> None:
        """Have one of the client's that was counted count no more."""
        if client in self._moments:  # else it was forgotten meanwhile
            self._moments[client] -= MINUTE_SECONDS / self._per_minute
