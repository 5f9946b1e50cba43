"""Work on many cases in several processes that do not get in each other's way."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def map_in_processes(
    function: Callable[[Job], Result], jobs: Sequence[Job], processes: int, *, threads: int = 1
) -> Iterator[Result]:
    """Yield the function's results in the order of the jobs.

    One process, or one job, is worked on in the present process. Each of several computes with
    the threads that are given: otherwise every one would start a thread for every core, and they
    would wait for each other.

    Raises:
        BrokenProcessPool: a process was killed.
    """
    if min(processes, len(jobs)) <= 1:
        yield from map(function, jobs)
        return
    with process_pool(min(processes, len(jobs)), threads=threads) as pool:
        yield from pool.map(function, jobs)


@contextmanager
def process_pool(processes: int, *, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of fresh processes that compute with so many threads each."""
    # spawn, not fork: a fork would copy the locks of this process' threads
    context = multiprocessing.get_context("spawn")
    with (
        threads_of_children(threads),
        ProcessPoolExecutor(processes, mp_context=context) as pool,
    ):
        yield pool


def share_of_cores(processes: int) -> int:
    """Return the threads each of several processes may compute with."""
    return max(1, (os.cpu_count() or 1) // processes)


@contextmanager
def threads_of_children(count: int) -> Iterator[None]:
    """Let processes started within compute with so many threads: libraries read it as they load."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
