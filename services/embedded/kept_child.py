"""Starts a process of the embedded stack again when it dies: later every time, not for ever."""

import time
from collections.abc import Callable

from services.embedded.children import Child

FIRST_DELAY_SECONDS = 1.0
"""Before the first new start; doubled with every death of the window."""

MOST_DEATHS = 5
"""Within the window; one more ends the stack, for something is wrong that a start does not mend."""

WINDOW_SECONDS = 600.0


class KeptChild:
    """A child, the one after it when it died, and so on."""

    def __init__(
        self, start: Callable[[], Child], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the child.

        Args:
            start: starts it, each time.
            monotonic: tells seconds that pass.
        """
        self._start = start
        self._monotonic = monotonic
        self._deaths: list[float] = []
        self._due_at: float | None = None
        self.child = start()

    def keep_alive(self) -> str | None:
        """Start the child again if it died and its time has come.

        Returns:
            A sentence for people, when something happened.

        Raises:
            ChildDiedError: it died too often.
        """
        now = self._monotonic()
        if self._due_at is not None:
            return self._start_when_due(now)
        if self.child.is_running:
            return None
        self._deaths = [died for died in self._deaths if now - died < WINDOW_SECONDS] + [now]
        if len(self._deaths) > MOST_DEATHS:
            self.child.check()
        self.child.kill()  # what it had started and left behind
        delay = FIRST_DELAY_SECONDS * 2 ** (len(self._deaths) - 1)
        self._due_at = now + delay
        return (
            f"{self.child.name} ended with exit code {self.child.exit_code}; "
            f"it is started again in {delay:g} s"
        )

    def _start_when_due(self, now: float) -> str | None:
        if self._due_at is None or now < self._due_at:
            return None
        self._due_at = None
        self.child = self._start()
        return f"{self.child.name} was started again"
