"""Probes: one look for all who ask, one thread however long it hangs."""

import asyncio
import threading

import pytest
from sqlalchemy.exc import OperationalError

from services.api.probes import Check, Probe, ProbeTimes
from services.core.errors import QueueUnavailableError
from tests.factories.api import STEADY_PROBES
from tests.fakes import Seconds

pytestmark = pytest.mark.anyio
TIMES = ProbeTimes(fresh_seconds=3, timeout_seconds=120)


class Dependency:
    """Answers with how often it was asked; hangs while told to, raises what it is told to."""

    def __init__(self) -> None:
        self.looks = 0
        self.answers = threading.Event()
        self.answers.set()
        self.error: Exception | None = None

    def look(self) -> int:
        self.looks += 1
        self.answers.wait()
        if self.error is not None:
            raise self.error
        return self.looks


class TestFreshness:
    async def test_an_answer_is_good_for_some_seconds(self) -> None:
        dependency, seconds = Dependency(), Seconds()
        probe = Probe(dependency.look, times=TIMES, now=seconds)

        first = [(await probe.ask()).seen for _ in range(5)]
        seconds.now += 3
        later = (await probe.ask()).seen

        assert (first, later) == ([1] * 5, 2)

    async def test_who_asks_during_a_look_shares_it(self) -> None:
        dependency = Dependency()
        dependency.answers.clear()
        probe = Probe(dependency.look, times=TIMES, now=Seconds())

        asking = [asyncio.create_task(probe.ask()) for _ in range(60)]
        await asyncio.sleep(0)  # all of them wait
        dependency.answers.set()

        assert {answer.seen for answer in await asyncio.gather(*asking)} == {1}

    async def test_failures_are_kept_no_longer_than_successes(self) -> None:
        dependency, seconds = Dependency(), Seconds()
        dependency.error = QueueUnavailableError("the broker does not answer", reason="down")
        probe = Probe(dependency.look, times=TIMES, now=seconds)

        failed = await probe.ask()
        dependency.error = None
        seconds.now += 3
        repaired = await probe.ask()

        assert failed.check == Check(is_ok=False, detail="the broker does not answer")
        assert failed.seen is None
        assert repaired.check == Check(is_ok=True, detail="answers")


class TestTrouble:
    @pytest.mark.parametrize(
        ("error", "detail"),
        [
            (OperationalError("secret", {}, Exception()), "failed (OperationalError)"),
            (PermissionError("secret"), "failed (PermissionError)"),
        ],
    )
    async def test_what_fails_is_told_by_its_kind_alone(
        self, error: Exception, detail: str
    ) -> None:
        dependency = Dependency()
        dependency.error = error

        answer = await Probe(dependency.look, times=TIMES).ask()

        assert answer.check == Check(is_ok=False, detail=detail)

    async def test_a_look_that_hangs_is_not_begun_a_second_time(self) -> None:
        dependency = Dependency()
        dependency.answers.clear()
        probe = Probe(dependency.look, times=ProbeTimes(fresh_seconds=0, timeout_seconds=0.01))

        answers = [await probe.ask() for _ in range(20)]
        dependency.answers.set()
        assert probe._looking is not None
        await probe._looking
        looks = dependency.looks
        probe._times = STEADY_PROBES
        repaired = await probe.ask()

        assert looks == 1
        assert {answer.check for answer in answers} == {
            Check(is_ok=False, detail="no answer within 0.01 s")
        }
        assert repaired.check.is_ok

    async def test_who_leaves_takes_the_look_from_nobody(self) -> None:
        dependency = Dependency()
        dependency.answers.clear()
        probe = Probe(dependency.look, times=TIMES, now=Seconds())

        leaving = asyncio.create_task(probe.ask())
        while probe._looking is None:
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        staying = asyncio.create_task(probe.ask())
        await asyncio.sleep(0)
        dependency.answers.set()

        assert (await staying).seen == 1
