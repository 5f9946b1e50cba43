"""Work on untrusted bytes ends: with its result, its refusal, or at its limits."""

import asyncio
import errno
import math
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from anyio import create_task_group, to_process
from anyio.abc import Process
from structlog.testing import capture_logs

from ml.dicom.errors import DicomError, DicomErrorCode
from services.api import bounded as bounded_module
from services.api.bounded import (
    MAX_OPEN_FILES,
    PROCESS_NICENESS,
    START_PAUSE_SECONDS,
    BoundedProcesses,
    ParseFailedError,
    ParsersUnavailableError,
    ParseTimeLimitError,
    WorkLimits,
    WorkOrder,
    warm_all,
)
from services.api.edited_rtstructs.errors import WrongFrameOfReferenceError
from tests.factories import hostile_work
from tests.waiting import wait_in_loop_until

pytestmark = pytest.mark.anyio
MEBIBYTE = 1 << 20
WORK = WorkOrder(client="a client", byte_count=0)
LARGE = WorkOrder(client="a client", byte_count=300_000_000)
"""Work that has five minutes more."""
FAR_SECONDS = 10_000.0
"""Beyond every limit."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def bounded(seconds: float = 300.0, slots: int = 1) -> BoundedProcesses:
    limits = WorkLimits(seconds=seconds, bytes_per_second=1e6, memory_bytes=200 * MEBIBYTE)
    return BoundedProcesses(limits, slots)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the event loop's clock go beyond every limit that began before."""
    loop = asyncio.get_running_loop()
    time = loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + FAR_SECONDS)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


async def process_of(task: asyncio.Task[None], noted: Path) -> int:
    """Return the process that works on a task, once it has begun and noted itself."""
    await wait_in_loop_until(lambda: task.done() or (noted.exists() and noted.read_text()))
    assert not task.done()
    return int(noted.read_text())


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class TestResults:
    async def test_results_and_refusals_come_back_and_the_process_is_kept(self) -> None:
        work = bounded()
        assert await work.run(WORK, hostile_work.add, 1, 2) == 3
        first = await work.run(WORK, hostile_work.process_id)
        with pytest.raises(DicomError) as refused:
            await work.run(WORK, hostile_work.refuse)
        assert refused.value.code is DicomErrorCode.NOT_CT
        assert refused.value.message == "no CT"
        assert refused.value.sop_instance_uids == ("1.2",)
        assert refused.value.facts == {"modality": "MR"}
        with pytest.raises(WrongFrameOfReferenceError) as wrong:
            await work.run(WORK, hostile_work.refuse_with_arguments)
        assert wrong.value.code == "wrong_frame_of_reference"
        assert wrong.value.context.keys() == WrongFrameOfReferenceError("1", ["2"]).context.keys()
        assert await work.run(WORK, hostile_work.process_id) == first != os.getpid()

    async def test_the_process_is_held_to_its_limits_and_behind_the_event_loop(self) -> None:
        limits = await bounded().run(WORK, hostile_work.limits)
        assert (limits["core"], limits["files"]) == (0, MAX_OPEN_FILES)
        assert 300 < limits["cpu"] < 340
        assert 200 * MEBIBYTE < limits["memory"] < 4096 * MEBIBYTE
        assert limits["niceness"] >= PROCESS_NICENESS

    async def test_warming_starts_a_process_for_every_slot(self, tmp_path: Path) -> None:
        work = bounded(slots=2)
        before = children()
        await work.warm()
        started = children() - before
        pids: set[int] = set()

        async def note() -> None:
            pids.add(await work.run(WORK, hostile_work.meet, tmp_path))

        async with create_task_group() as group:
            group.start_soon(note)
            group.start_soon(note)
        assert len(pids) == 2
        assert pids == started


class Starts:
    """Has the first starts of processes fail, and takes the pauses between tries out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: float, way: str) -> None:
        self._monkeypatch = monkeypatch
        self._failing = failing
        self._way = way
        self._failed: list[Process] = []
        self.count = 0
        self.pauses: list[float] = []
        self.last_pause = math.inf
        monkeypatch.setattr(to_process, "open_process", self._open)
        monkeypatch.setattr(to_process, "fail_after", self._fail_after)
        monkeypatch.setattr(bounded_module, "sleep", self._pause)

    @property
    def _fails(self) -> bool:
        return self.count <= self._failing

    async def _open(self, command: Sequence[str], **pipes: Any) -> Process:  # Any: as anyio's
        self.count += 1
        if self._fails and self._way == "refused":
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if not self._fails:
            return await anyio.open_process(command, **pipes)
        never_ready = {"ended": "/bin/false", "late": "/bin/cat"}
        self._failed.append(await anyio.open_process([never_ready[self._way]], **pipes))
        return self._failed[-1]

    def _fail_after(self, seconds: float) -> AbstractContextManager[object]:
        """anyio's own limit, which nobody can set."""
        return anyio.fail_after(0.05 if self._fails and self._way == "late" else seconds)

    async def close(self) -> None:
        """Close the pipes that anyio leaves open, before the garbage collector warns of them."""
        for process in self._failed:
            await process.aclose()

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) >= self.last_pause:
            hurry(self._monkeypatch)
            await anyio.sleep(seconds)


NewStarts = Callable[[float, str], Starts]


@pytest.fixture
async def new_starts(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NewStarts]:
    made: list[Starts] = []

    def make(failing: float, way: str) -> Starts:
        made.append(Starts(monkeypatch, failing, way))
        return made[-1]

    yield make
    for starts in made:
        await starts.close()


class TestStarting:
    @pytest.mark.parametrize("way", ["refused", "ended", "late"])
    async def test_processes_that_do_not_start_are_started_again(
        self, new_starts: NewStarts, way: str
    ) -> None:
        work, starts = bounded(), new_starts(2, way)
        with capture_logs() as lines:
            await warm_all([work])
        assert (starts.count, starts.pauses) == (3, [START_PAUSE_SECONDS] * 2)
        assert [(line["log_level"], line["event"]) for line in lines] == [
            ("warning", "a process for untrusted work did not start")
        ] * 2
        assert await work.run(WORK, hostile_work.add, 1, 2) == 3
        assert starts.count == 3

    async def test_one_that_is_started_again_is_not_one_that_others_have_warmed(
        self, new_starts: NewStarts
    ) -> None:
        before = children()
        starts = new_starts(1, "refused")
        await warm_all([bounded(slots=2), bounded()])
        assert len(children() - before) == 3
        assert starts.count == 4

    @pytest.mark.parametrize("way", ["refused", "ended", "late"])
    async def test_when_the_time_is_over_nobody_is_to_blame_but_the_machine(
        self, new_starts: NewStarts, way: str
    ) -> None:
        starts = new_starts(math.inf, way)
        starts.last_pause = 3
        with pytest.raises(ParsersUnavailableError):
            await warm_all([bounded()])
        assert (starts.count, starts.pauses) == (3, [START_PAUSE_SECONDS] * 3)

    async def test_imports_that_take_all_the_time_end_with_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        noted = tmp_path / "pid"
        spinning = partial(hostile_work.spin, noted)
        monkeypatch.setattr(bounded_module, "_import_parsers", spinning)
        warming = asyncio.create_task(warm_all([bounded()]))
        process_id = await process_of(warming, noted)
        hurry(monkeypatch)
        with pytest.raises(ParsersUnavailableError):
            await warming
        assert not is_running(process_id)

    @pytest.mark.parametrize("way", ["refused", "ended", "late"])
    async def test_a_request_tries_once(self, new_starts: NewStarts, way: str) -> None:
        work, starts = bounded(), new_starts(1, way)
        with capture_logs() as lines, pytest.raises(ParsersUnavailableError):
            await work.run(WORK, hostile_work.add, 1, 2)
        assert (starts.count, starts.pauses) == (1, [])
        assert [(line["log_level"], line["event"]) for line in lines] == [
            ("error", "no process for untrusted work can be started")
        ]
        assert await work.run(WORK, hostile_work.add, 1, 2) == 3


class TestTurns:
    async def test_a_client_waits_for_one_piece_of_another_clients_work_at_most(
        self, tmp_path: Path
    ) -> None:
        work = bounded()
        await work.warm()
        go, noted = tmp_path / "go", tmp_path / "noted"

        async def note(client: str) -> None:
            order = WorkOrder(client=client, byte_count=0)
            await work.run(order, hostile_work.note_once_there, client, noted, go)

        async with create_task_group() as group:
            for _ in range(16):
                group.start_soon(note, "hoarder")
            waiting = work._slots._waiting
            await wait_in_loop_until(lambda: len(waiting.get("hoarder", ())) == 15)
            group.start_soon(note, "other")
            await wait_in_loop_until(lambda: "other" in waiting)
            go.touch()

        assert noted.read_text().split() == ["hoarder", "other", *["hoarder"] * 15]


class TestLimits:
    async def test_work_without_end_is_killed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        work = bounded()
        spinning = asyncio.create_task(work.run(WORK, hostile_work.spin, tmp_path / "pid"))
        process_id = await process_of(spinning, tmp_path / "pid")
        hurry(monkeypatch)
        with pytest.raises(ParseTimeLimitError) as late:
            await spinning
        assert late.value.context == {"seconds": 300.0}
        assert not is_running(process_id)
        assert await work.run(WORK, hostile_work.add, 1, 2) == 3

    async def test_many_bytes_have_more_time(self) -> None:
        assert await bounded(seconds=0.01).run(LARGE, hostile_work.sleep, 0.1) == 0.1

    async def test_waiting_for_a_slot_takes_nothing_of_the_time(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        work = bounded()
        await work.warm()
        async with work._slots.taken("another client"):
            waiting = asyncio.create_task(work.run(WORK, hostile_work.add, 1, 2))
            await wait_in_loop_until(lambda: WORK.client in work._slots._waiting)
            hurry(monkeypatch)
            await asyncio.sleep(0)
        assert await waiting == 3

    async def test_work_that_needs_too_much_memory_is_refused(self) -> None:
        work = bounded()
        with pytest.raises(ParseFailedError):
            await work.run(WORK, hostile_work.swell)
        assert await work.run(WORK, hostile_work.add, 1, 2) == 3

    async def test_a_process_that_crashes_takes_nothing_with_it(self) -> None:
        work = bounded()
        with pytest.raises(ParseFailedError):
            await work.run(WORK, hostile_work.crash)
        assert await work.run(WORK, hostile_work.add, 1, 2) == 3

    async def test_the_event_loop_goes_on_while_a_parser_holds_its_interpreter(
        self, tmp_path: Path
    ) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        parsing = asyncio.create_task(bounded().run(WORK, hostile_work.hold_the_interpreter, fifo))
        writer = -1
        while writer < 0:
            with suppress(OSError):  # nobody reads yet
                writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            await asyncio.sleep(0.01)
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert not parsing.done()
        os.write(writer, b"x")  # an event loop that waited for the parser would not come here
        os.close(writer)
        await parsing


class TestCancelling:
    async def test_a_request_that_is_given_up_ends_its_process(self, tmp_path: Path) -> None:
        work = bounded()
        task = asyncio.create_task(work.run(WORK, hostile_work.spin, tmp_path / "pid"))
        process_id = await process_of(task, tmp_path / "pid")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not is_running(process_id)
