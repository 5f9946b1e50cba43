"""Waiting for work of the service."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from services.client.errors import WaitedTooLongError, WorkFailedError
from services.client.models import Work

SomeWork = TypeVar("SomeWork", bound=Work)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How work is waited for."""

    poll_seconds: float = 1.0
    """Between two looks: a worker notes progress about as often."""
    timeout_seconds: float | None = None
    """None: as long as it takes."""
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic


def wait_until_over(
    look: Callable[[], SomeWork],
    on_progress: Callable[[SomeWork], None] | None = None,
    patience: Patience | None = None,
) -> SomeWork:
    """Return work once it is over, in whatever way.

    Raises:
        WaitedTooLongError: it was not over in time.
        ClientError: as the look does.
    """
    patience = patience or Patience()
    began = patience.now()
    while True:
        work = look()
        if on_progress is not None:
            on_progress(work)
        if work.is_over:
            return work
        limit = patience.timeout_seconds
        if limit is not None and patience.now() - began >= limit:
            raise WaitedTooLongError(str(work.id), limit)
        patience.sleep(patience.poll_seconds)


def check_succeeded(work: Work) -> None:
    """Return if work succeeded.

    Raises:
        WorkFailedError: it failed, under its own code, or was cancelled.
    """
    if work.error is not None:
        raise WorkFailedError(work.error.code, f"{work.id} failed: {work.error.detail}")
    if work.state != "succeeded":
        raise WorkFailedError(f"work_{work.state}", f"{work.id} is {work.state}")
