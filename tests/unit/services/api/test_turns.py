"""Turns: a client alone has all of them, and none where others wait for their first."""

import asyncio
from collections.abc import Sequence

import pytest

from services.api.turns import Turns

pytestmark = pytest.mark.anyio


class Work:
    """Pieces of work that end when a test says so."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.begun: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._ends: list[asyncio.Event] = []

    async def ask(self, clients: Sequence[str]) -> None:
        for client in clients:
            self._tasks.append(asyncio.create_task(self._run(client)))
        await settle()

    async def end_first(self) -> None:
        """End the oldest piece that goes on."""
        self._ends.pop(0).set()
        await settle()

    async def end_all(self) -> None:
        while self._ends:
            await self.end_first()
        await asyncio.gather(*self._tasks)

    async def give_up(self, place: int) -> None:
        """Cancel who asked in that place."""
        self._tasks[place].cancel()
        await asyncio.gather(self._tasks.pop(place), return_exceptions=True)
        await settle()

    async def _run(self, client: str) -> None:
        async with self.turns.taken(client):
            self.begun.append(client)
            end = asyncio.Event()
            self._ends.append(end)
            await end.wait()


async def settle() -> None:
    """Let everything that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def work() -> Work:
    return Work(Turns(2))


async def test_a_client_alone_has_every_turn(work: Work) -> None:
    await work.ask("aaa")
    assert work.begun == ["a", "a"]
    await work.end_all()
    assert work.begun == ["a", "a", "a"]


async def test_who_comes_later_has_the_next_turn_of_a_client_that_hoards(work: Work) -> None:
    await work.ask("a" * 16)
    await work.ask("b")
    await work.end_first()
    assert work.begun == ["a", "a", "b"]
    await work.end_all()
    assert len(work.begun) == 17


async def test_a_client_has_one_turn_at_most_while_others_wait(work: Work) -> None:
    await work.ask("aaaa")
    await work.ask("bb")
    await work.ask("c")
    for _ in range(4):
        await work.end_first()
    assert work.begun == ["a", "a", "b", "c", "a", "b"]
    await work.end_all()
    assert sorted(work.begun) == list("aaaabbc")


async def test_who_leaves_while_waiting_or_at_work_keeps_no_turn(work: Work) -> None:
    await work.ask("abcd")
    await work.give_up(2)
    await work.give_up(0)
    assert work.begun == ["a", "b", "d"]
    work._ends.pop(0)
    await work.end_all()
    assert work.turns._free == 2
    assert not work.turns._held
    assert not work.turns._waiting


async def test_who_leaves_at_the_moment_of_its_turn_gives_it_on() -> None:
    work = Work(Turns(1))
    await work.ask("abc")
    work._ends.pop(0).set()
    while "b" in work.turns._waiting:  # its turn has come, and it does not know yet
        await asyncio.sleep(0)
    await work.give_up(1)
    assert work.begun == ["a", "c"]
    await work.end_all()
    assert work.turns._free == 1
