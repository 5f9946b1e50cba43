"""Measures how long a loop does not get to run, and who had the processor meanwhile.

    python -m bench.load.heartbeat stalls.json     # a process that does nothing else: the control

A task wakes every five milliseconds; what it is late by is a stall. The processor time that the
loop's thread and the whole process used during one tells its cause: about as long in the loop's
thread, and a route works where it must not; in the process alone, and another thread kept the
interpreter; neither, and the machine gave the processor to others.
"""

import asyncio
import gc
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

PERIOD_SECONDS = 0.005
NOTED_SECONDS = 0.02
"""A stall of at least this length is noted with its cause."""
LIMIT_SECONDS = 0.05
"""No stall of our own making may reach this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stall:
    """One beat that came late."""

    at_seconds: float
    """Of time.time(), so that two processes can be compared."""
    late_seconds: float
    loop_cpu_seconds: float
    """Used by the loop's thread since the beat before."""
    process_cpu_seconds: float
    """Used by all threads of the process since the beat before."""

    @property
    def own_seconds(self) -> float:
        """Return how long it would have been on a machine that does nothing else."""
        return min(self.late_seconds, self.process_cpu_seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Beats:
    """What a heart saw."""

    count: int
    worst_seconds: float
    worst_own_seconds: float
    worst_collection_seconds: float
    """Processor time of the longest collection of garbage, which keeps every thread waiting."""
    stalls: list[Stall]

    @classmethod
    def from_json(cls, text: str) -> "Beats":
        """Read what to_json wrote."""
        values = json.loads(text)
        return cls(**{**values, "stalls": [Stall(**stall) for stall in values["stalls"]]})

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))


class Heart:
    """A task that beats on the running loop."""

    def __init__(self) -> None:
        self._count = 0
        self._worst = 0.0
        self._stalls: list[Stall] = []
        self._collection_start = 0.0
        self._worst_collection = 0.0

    async def run(self) -> None:
        """Beat until cancelled."""
        gc.callbacks.append(self._on_collection)
        last, last_cpu, last_process_cpu = _clocks()
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            now, cpu, process_cpu = _clocks()
            self._count += 1
            late = now - last - PERIOD_SECONDS
            self._worst = max(self._worst, late)
            if late >= NOTED_SECONDS:
                stall = Stall(
                    at_seconds=time.time(),
                    late_seconds=late,
                    loop_cpu_seconds=cpu - last_cpu,
                    process_cpu_seconds=process_cpu - last_process_cpu,
                )
                self._stalls.append(stall)
            last, last_cpu, last_process_cpu = now, cpu, process_cpu

    def take(self) -> Beats:
        """Return what was seen since the last call."""
        own = [stall.own_seconds for stall in self._stalls]
        beats = Beats(
            count=self._count,
            worst_seconds=self._worst,
            worst_own_seconds=max(own, default=0.0),
            worst_collection_seconds=self._worst_collection,
            stalls=self._stalls,
        )
        self._count, self._worst, self._worst_collection, self._stalls = 0, 0.0, 0.0, []
        return beats

    def _on_collection(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._collection_start = time.thread_time()
        else:
            seconds = time.thread_time() - self._collection_start
            self._worst_collection = max(self._worst_collection, seconds)


def _clocks() -> tuple[float, float, float]:
    return time.perf_counter(), time.thread_time(), time.process_time()


async def _beat_alone(path: Path) -> None:
    heart = Heart()
    task = asyncio.create_task(heart.run())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: path.write_text(heart.take().to_json()))
    await stop.wait()
    task.cancel()


if __name__ == "__main__":
    asyncio.run(_beat_alone(Path(sys.argv[1])))
