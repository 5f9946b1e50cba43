"""Many runs on one machine, several at a time, each in a process of its own."""

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

import torch

from ml.experiments.execution import RunData, cache_crops, execute_run
from ml.experiments.plan import PlannedRun
from ml.experiments.ranking import RunOutcome

Result = TypeVar("Result")


def run_plan(
    plan: Sequence[PlannedRun], data: RunData, folder: Path, processes: int
) -> Iterator[tuple[PlannedRun, RunOutcome]]:
    """Execute all runs, each in `folder/<its name>`, and yield them as they end.

    Finished runs are read, unfinished ones are taken up again. The machine's cores are dealt
    evenly to the processes; small networks gain more from runs side by side than from threads.
    """
    (folder).mkdir(parents=True, exist_ok=True)
    cache_crops([run.config for run in plan], data, processes)
    calls = [(_execute, (run, data, folder / run.name)) for run in plan]
    for number, outcome in in_processes(calls, processes):
        yield plan[number], outcome


def in_processes(
    calls: Sequence[tuple[Callable[..., Result], tuple[Any, ...]]],  # Any: of any function
    processes: int,
) -> Iterator[tuple[int, Result]]:
    """Make the calls in fresh processes; yield their numbers and results as they end.

    One call's error is raised after the calls already under way have ended.
    """
    threads = max(1, (os.cpu_count() or 1) // processes)
    # spawn, not fork: torch has run in this process, and its threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_start, initargs=(threads,)
    ) as pool:
        futures: dict[Future[Result], int] = {
            pool.submit(function, *arguments): number
            for number, (function, arguments) in enumerate(calls)
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start(threads: int) -> None:
    torch.set_num_threads(threads)


def _execute(run: PlannedRun, data: RunData, folder: Path) -> RunOutcome:
    folder.mkdir(parents=True, exist_ok=True)
    # every run keeps a log of its own: their lines would mix on one screen
    handler = logging.FileHandler(folder / "run.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    return execute_run(run, data, folder)
