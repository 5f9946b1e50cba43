"""Waits for what other threads and processes do, however slow the machine is."""

import time
from collections.abc import Callable, Iterator

import anyio

PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.02
TURN_SECONDS = 1.0
"""The most that a turn costs of the patience: while this process stood still, so did the others."""


def turns(seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Yield before every look at something, and once more when the patience is used up.

    Whoever looks sleeps between two turns, and leaves the loop once there is what was waited for.
    """
    turned_at = time.monotonic()
    while True:
        is_last = seconds <= 0
        yield
        if is_last:
            return
        now = time.monotonic()
        seconds -= min(now - turned_at, TURN_SECONDS)
        turned_at = now


def wait_until(is_done: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Return once something is the case; it must become so."""
    for _ in turns(seconds):
        if is_done():
            return
        time.sleep(POLL_SECONDS)
    raise AssertionError("it did not happen in time")


async def wait_in_loop_until(is_done: Callable[[], object]) -> None:
    """Let an event loop run until something is the case; it must become so.

    anyio's `wait_all_tasks_blocked` looks every 0.1 s whether all tasks wait. A task that sleeps as
    long each time, like the one that measures how late the loop is, may fall into step with it and
    never be seen to wait.
    """
    for _ in turns():
        if is_done():
            return
        await anyio.sleep(POLL_SECONDS)
    raise AssertionError("it did not happen in time")
