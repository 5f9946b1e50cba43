"""Work on bytes of unknown senders, done in processes that may hang, swell or crash.

A parser in a thread of the API holds the interpreter whenever it likes; a crafted file could stop
every other request, fill the memory or end the process. Here it costs its own request.
"""

import math
import os
import pickle
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, TypeVar, TypeVarTuple

from anyio import (
    BrokenWorkerProcess,
    CapacityLimiter,
    create_task_group,
    fail_after,
    move_on_after,
    sleep,
    to_process,
    to_thread,
)

from services.api.turns import Turns
from services.core.errors import ServiceError, UnavailableError
from services.core.logging import get_logger

if sys.platform != "win32":
    import resource

MAX_OPEN_FILES = 256
"""Of a process; unpacking and parsing hold two or three open at a time."""
CPU_GRACE_SECONDS = 5
"""By which the kernel ends a process after its time, should nobody be left to do it."""
WARM_SECONDS = 300.0
"""For a process to start and import, on a machine that starts everything at once."""
START_PAUSE_SECONDS = 2.0
"""Between tries to start processes: a machine that has none to give is not asked all the time."""
PROCESS_NICENESS = 5
"""Behind the event loop: requests that only read are answered while uploads are parsed."""
NOBODY = ""
"""The client of what is no client's."""
PARSERS = ("ml.dicom.series", "ml.dicom.catalogue", "ml.dicom.rtstruct_references")
"""What the processes import before the first upload: most of the time a start takes."""

log = get_logger(__name__)

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class ParseTimeLimitError(ServiceError):
    """Unpacking or parsing took too long."""

    code = "parse_time_limit"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the files were not read within {seconds:.0f} seconds", seconds=round(seconds, 1)
        )


class ParseFailedError(ServiceError):
    """The process that unpacked or parsed came to an end or to the limit of its memory."""

    code = "parse_failed"

    def __init__(self) -> None:
        super().__init__("the files cannot be read within the limits of memory and processing")


class ParsersUnavailableError(UnavailableError):
    """No process can be started to unpack or parse: nobody has looked at the files."""

    code = "parsers_unavailable"

    def __init__(self) -> None:
        super().__init__("no process can be started to read the files")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkLimits:
    """What one piece of work may take."""

    seconds: float
    """However few bytes it is about."""
    bytes_per_second: float
    """Further bytes have as much more time as this slow a disk needs."""
    memory_bytes: int
    """Beyond what the process has after its imports; held on Linux."""

    def seconds_for(self, byte_count: int) -> float:
        """Return the time that work on so many received bytes may take."""
        return self.seconds + byte_count / self.bytes_per_second


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkOrder:
    """Whose a piece of work is, and how much."""

    client: str
    """While others wait, one client's work waits for theirs."""
    byte_count: int
    """Received bytes that it is about."""


class BoundedWork(Protocol):
    """Runs functions that read what senders sent."""

    async def warm(self) -> None:
        """Get ready for the first piece of work; raises ParsersUnavailableError."""
        ...

    async def run(
        self,
        order: WorkOrder,
        function: Callable[[*Arguments], Result],
        *arguments: *Arguments,
    ) -> Result:
        """Return what the function returns, or raise what it raises.

        Raises:
            ParseTimeLimitError, ParseFailedError: it went beyond its limits.
            ParsersUnavailableError: the machine is short of processes, memory or time.
        """
        ...


async def warm_all(works: Sequence[BoundedWork], seconds: float = WARM_SECONDS) -> None:
    """Get all of them ready; where a process does not start, try again until the time is over.

    anyio waits 20 s for a process to start, whatever its caller allows. All are tried together
    again: it has one pool for all, and gives one that comes alone what another has warmed.

    Raises:
        ParsersUnavailableError: the time is over.
    """
    with move_on_after(seconds):
        while True:
            try:
                await _all_tried([work.warm for work in works])
            except ParsersUnavailableError as error:
                log.warning("a process for untrusted work did not start", exc_info=error)
            else:
                return
            await sleep(START_PAUSE_SECONDS)
    raise ParsersUnavailableError


async def _all_tried(starts: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Let all at once come to their ends; raises ParsersUnavailableError where one did."""
    failures: list[ParsersUnavailableError] = []

    async def try_one(start: Callable[[], Awaitable[None]]) -> None:
        try:
            await start()
        except ParsersUnavailableError as error:  # in the group it would end the others
            failures.append(error)

    async with create_task_group() as group:
        for start in starts:
            group.start_soon(try_one, start)
    if failures:
        raise failures[0]


class BoundedProcesses:
    """BoundedWork in processes that are kept for the next piece of work.

    Function, arguments, result and expected errors are pickled. A process that is late is killed,
    with nothing but its own request lost; what it left in the request's folder goes with that.
    """

    def __init__(self, limits: WorkLimits, slots: int) -> None:
        self._limits = limits
        self._slots = Turns(slots)
        self._is_cold = True

    async def warm(self) -> None:
        """See BoundedWork; starts every process and lets it import the parsers."""
        await _all_tried([self._warm_one] * self._slots.total)

    async def _warm_one(self) -> None:
        async with self._slots.taken(NOBODY):
            await self._import_parsers()

    async def _import_parsers(self) -> None:
        self._is_cold = False
        await self._run(pickle.dumps((_import_parsers, ())), WARM_SECONDS)

    async def run(
        self,
        order: WorkOrder,
        function: Callable[[*Arguments], Result],
        *arguments: *Arguments,
    ) -> Result:
        """See BoundedWork; waits for its turn first, which takes nothing of the time."""
        seconds = self._limits.seconds_for(order.byte_count)
        # Long lists of files take long to pickle: not on the event loop.
        work = await to_thread.run_sync(pickle.dumps, (function, arguments))
        async with self._slots.taken(order.client):
            try:
                if self._is_cold:  # a start takes nothing of the time either
                    await self._import_parsers()
                outcome = await self._run(work, seconds)
            except ParsersUnavailableError:  # tried once: its sender tries again
                log.exception("no process for untrusted work can be started")
                raise
        result, error = await to_thread.run_sync(pickle.loads, outcome)
        if error is not None:
            raise error
        return result

    async def _run(self, work: bytes, seconds: float) -> bytes:
        unlimited = CapacityLimiter(math.inf)  # the slots are counted above
        try:
            with fail_after(seconds):
                return await to_process.run_sync(
                    _work, work, seconds, self._limits.memory_bytes, cancellable=True,
                    limiter=unlimited,
                )  # fmt: skip
        except TimeoutError as error:
            self._is_cold = True
            log.warning("untrusted work was stopped", seconds=seconds)
            raise ParseTimeLimitError(seconds) from error
        except OSError as error:  # what the function raises is in its outcome
            self._is_cold = True
            raise ParsersUnavailableError from error
        except BrokenWorkerProcess as error:
            self._is_cold = True
            if error.args:  # anyio's words on a process that never asked for its work
                raise ParsersUnavailableError from error
            log.warning("a process with untrusted work ended", exc_info=error)
            raise ParseFailedError from error


def _work(work: bytes, seconds: float, memory_bytes: int) -> bytes:
    """Do a piece of work in the process that is there for it; gives result and error, pickled."""
    _limit_process(seconds, memory_bytes)
    function, arguments = pickle.loads(work)  # noqa: S301  # the API's own
    result: object = None
    error: Exception | None = None
    try:
        result = function(*arguments)
    except MemoryError:
        error = ParseFailedError()
    except Exception as raised:  # noqa: BLE001  # the outermost frame of its process
        raised.add_note("".join(traceback.format_exception(raised)))  # pickles leave it behind
        error = raised
    return pickle.dumps((result, error))


def _limit_process(seconds: float, memory_bytes: int) -> None:
    """Let the kernel hold this process to its limits, from now until the next piece of work."""
    if sys.platform == "win32":
        return
    os.setpriority(os.PRIO_PROCESS, 0, max(PROCESS_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_seconds = math.ceil(used.ru_utime + used.ru_stime + seconds) + CPU_GRACE_SECONDS
    limits = {
        resource.RLIMIT_CORE: 0,  # a dump would hold a patient's images
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
    }
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + memory_bytes
    for kind, wanted in limits.items():
        _, most = resource.getrlimit(kind)
        soft = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(kind, (soft, most))


def _import_parsers() -> None:
    for name in PARSERS:
        import_module(name)
