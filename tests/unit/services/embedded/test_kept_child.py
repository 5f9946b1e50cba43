import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.embedded.children import Child, ChildDiedError
from services.embedded.kept_child import (
    FIRST_DELAY_SECONDS,
    MOST_DEATHS,
    WINDOW_SECONDS,
    KeptChild,
)
from tests.fakes import Seconds
from tests.waiting import wait_until


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Child]]:
    children: list[Child] = []

    def start() -> Child:
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        children.append(Child("worker", command, os.environ, tmp_path / "worker.log"))
        return children[-1]

    yield start
    for child in children:
        child.kill()


def die(kept: KeptChild) -> None:
    kept.child.kill()
    wait_until(lambda: not kept.child.is_running)


class TestKeptChild:
    def test_a_living_child_is_left_alone(self, start: Callable[[], Child]) -> None:
        kept = KeptChild(start)
        first = kept.child

        assert kept.keep_alive() is None
        assert kept.child is first

    def test_a_dead_child_is_started_again_after_a_moment(self, start: Callable[[], Child]) -> None:
        seconds = Seconds()
        kept = KeptChild(start, seconds)
        die(kept)

        assert kept.keep_alive() == "worker ended with exit code -9; it is started again in 1 s"
        assert kept.keep_alive() is None
        seconds.now += FIRST_DELAY_SECONDS
        assert kept.keep_alive() == "worker was started again"

        assert kept.child.is_running
        assert kept.keep_alive() is None

    def test_every_death_makes_it_wait_longer_until_it_is_given_up(
        self, start: Callable[[], Child]
    ) -> None:
        seconds = Seconds()
        kept = KeptChild(start, seconds)
        for death in range(MOST_DEATHS):
            die(kept)
            kept.keep_alive()
            delay = FIRST_DELAY_SECONDS * 2**death
            seconds.now += delay * 0.9
            assert kept.keep_alive() is None
            seconds.now += delay * 0.2
            kept.keep_alive()
            assert kept.child.is_running
        die(kept)

        with pytest.raises(ChildDiedError) as caught:
            kept.keep_alive()

        assert caught.value.name == "worker"

    def test_deaths_long_ago_do_not_count(self, start: Callable[[], Child]) -> None:
        seconds = Seconds()
        kept = KeptChild(start, seconds)
        for _ in range(MOST_DEATHS + 1):
            die(kept)
            assert str(kept.keep_alive()).endswith("in 1 s")
            seconds.now += WINDOW_SECONDS
            kept.keep_alive()
