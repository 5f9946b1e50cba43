import time

import pytest

from tests.fakes import Seconds
from tests.waiting import TURN_SECONDS, turns, wait_until


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    clock = Seconds()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


class TestTurns:
    def test_patience_ends_with_one_more_look(self, clock: Seconds) -> None:
        looks = 0
        for _ in turns(seconds=2.0):
            looks += 1
            clock.now += 0.5
        assert looks == 5

    def test_a_pause_costs_no_more_than_a_turn(self, clock: Seconds) -> None:
        looks = turns(seconds=3 * TURN_SECONDS)
        for _ in range(3):
            next(looks)
            clock.now += 1000.0
        next(looks)
        with pytest.raises(StopIteration):
            next(looks)


def test_what_never_happens_fails() -> None:
    with pytest.raises(AssertionError, match="in time"):
        wait_until(lambda: False, seconds=0.0)
