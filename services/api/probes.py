"""Asks one dependency whether it works; no answer within seconds counts as no."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from anyio import CapacityLimiter, Lock, to_thread
from sqlalchemy.exc import SQLAlchemyError

from services.core.errors import ServiceError

Seen = TypeVar("Seen")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeTimes:
    """How long dependencies may take to answer, and are believed."""

    fresh_seconds: float = 3.0
    """However many ask, and however often, nothing is asked more often.

    A load balancer looks every few seconds and acts on several answers, Prometheus every 15 s."""
    timeout_seconds: float = 4.0
    """Longer than a frozen broker takes to be noticed (3 s), shorter than a probe waits."""


PROBE_TIMES = ProbeTimes()


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One dependency's answer."""

    is_ok: bool
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer(Generic[Seen]):
    """How a look at a dependency went, and what was seen."""

    check: Check
    seen: Seen | None = None
    """None without an answer."""


class Probe(Generic[Seen]):
    """Looks at one dependency for everybody who asks, in one thread at most.

    Strangers may ask: neither many of them nor a dependency that hangs must cost the API more than
    one connection and one thread. While a look hangs no other is begun: it is asked how it goes.
    """

    def __init__(
        self,
        look: Callable[[], Seen],
        *,
        times: ProbeTimes = PROBE_TIMES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe a look.

        Args:
            look: blocks; raises ServiceError, SQLAlchemyError or OSError where it does not work.
            times: how long an answer is given again, and after which a look is given up.
            now: seconds that never go back.
        """
        self._look = look
        self._times = times
        self._now = now
        self._lock = Lock()
        self._thread = CapacityLimiter(1)  # none of those that requests wait for
        self._looking: asyncio.Task[Answer[Seen]] | None = None
        self._answer: Answer[Seen] | None = None
        self._answered_at = 0.0

    async def ask(self) -> Answer[Seen]:
        """Return the latest answer, or look if it is too old; who asks meanwhile shares it."""
        async with self._lock:
            age = self._now() - self._answered_at
            if self._answer is None or age >= self._times.fresh_seconds:
                self._answer = await self._look_again()
                self._answered_at = self._now()
            return self._answer

    async def _look_again(self) -> Answer[Seen]:
        if self._looking is None or self._looking.done():
            # A task of its own: whoever asks may leave, and the look goes on for the others.
            self._looking = asyncio.create_task(self._attempt())
        done, _ = await asyncio.wait({self._looking}, timeout=self._times.timeout_seconds)
        if not done:
            detail = f"no answer within {self._times.timeout_seconds:g} s"
            return Answer(check=Check(is_ok=False, detail=detail))
        return self._looking.result()

    async def _attempt(self) -> Answer[Seen]:
        try:
            # Abandoned at the end of the process alone, which a dependency must not hold up.
            seen = await to_thread.run_sync(
                self._look, abandon_on_cancel=True, limiter=self._thread
            )
        except ServiceError as error:
            return Answer(check=Check(is_ok=False, detail=error.message))
        except (SQLAlchemyError, OSError) as error:
            detail = f"failed ({type(error).__name__})"
            return Answer(check=Check(is_ok=False, detail=detail))
        return Answer(check=Check(is_ok=True, detail="answers"), seen=seen)


async def ask_all(probes: Mapping[str, Probe[None]]) -> dict[str, Check]:
    """Return the checks of probes by their names, which look at the same time."""
    answers = await asyncio.gather(*(probe.ask() for probe in probes.values()))
    return {name: answer.check for name, answer in zip(probes, answers, strict=True)}
