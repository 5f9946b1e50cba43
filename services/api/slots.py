"""How much that lasts one client may have under way."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager

from services.core.errors import ServiceError


class TooManyUploadsError(ServiceError):
    """The client has as many uploads under way as it may."""

    code = "too_many_uploads"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} uploads of this client are under way",
            limit=limit,
            retry_after_seconds=10,  # a CT series takes about as long
        )


class TooManyStreamsError(ServiceError):
    """The client follows as many streams of events as it may."""

    code = "too_many_streams"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} streams of this client are open",
            limit=limit,
            retry_after_seconds=60,  # streams last as long as trainings
        )


class Slots:
    """What is under way, by client; used from the event loop alone, one for each process."""

    def __init__(self, limit: int, refusal: Callable[[int], ServiceError]) -> None:
        """Describe the limit; 0 for none."""
        self._limit = limit
        self._refusal = refusal
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def taken(self, client: str) -> Generator[None]:
        """Count one more of the client's while the context is open.

        Raises:
            ServiceError: the refusal, as there are too many.
        """
        if 0 < self._limit <= self._under_way[client]:
            raise self._refusal(self._limit)
        self._under_way[client] += 1
        try:
            yield
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]
