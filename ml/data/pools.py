"""Pools of processes that do not get in each other's way."""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import Pool

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def single_threaded_pool(processes: int) -> Iterator[Pool]:
    """Open a pool whose processes compute with one thread each.

    Without this every process starts a thread for every core, and they wait for each other: two
    processes on two cores then take several times as long as one.
    """
    # spawn, not fork: a caller may have started threads of its own
    context = multiprocessing.get_context("spawn")
    with threads_of_children(1), context.Pool(processes) as pool:
        yield pool


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
