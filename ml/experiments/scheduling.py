"""Many runs on one machine, several at a time, each in a process of its own."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ml.data.pools import process_pool, share_of_cores
from ml.experiments.execution import RunData, cache_crops, execute_run
from ml.planning.plan import PlannedRun
from ml.planning.ranking import RunOutcome
from ml.whole_files import write_whole

Result = TypeVar("Result")
LOG_FILE = "run.log"


def run_plan(
    plan: Sequence[PlannedRun], data: RunData, folder: Path, processes: int
) -> Iterator[tuple[PlannedRun, RunOutcome]]:
    """Execute all runs, each in `folder/<its name>`, and yield them as they end.

    Finished runs are read, unfinished ones are taken up again. The machine's cores are dealt
    evenly to the processes; small networks gain more from runs side by side than from threads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cache_crops([run.config for run in plan], data, processes)
    calls = [(_execute, (run, data, folder / run.name)) for run in plan]
    for number, outcome in in_processes(calls, processes):
        yield plan[number], outcome


def in_processes(
    calls: Sequence[tuple[Callable[..., Result], tuple[Any, ...]]],  # Any: of any function
    processes: int,
) -> Iterator[tuple[int, Result]]:
    """Make the calls in fresh processes; yield their numbers and results as they end.

    One process alone is the present one. An error is raised after the calls already under way
    have ended.
    """
    if processes == 1:
        for number, (function, arguments) in enumerate(calls):
            yield number, function(*arguments)
        return
    with process_pool(processes, threads=share_of_cores(processes)) as pool:
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


def _execute(run: PlannedRun, data: RunData, folder: Path) -> RunOutcome:
    with _log_file(folder):
        return execute_run(run, data, folder)


@contextmanager
def _log_file(folder: Path) -> Iterator[None]:
    """Keep a log for every run: the lines of several would mix on one screen."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOG_FILE
    if path.exists():
        # a file of this run's own: the log of a folder of hard links is another run's too
        write_whole(path, path.read_bytes())
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("ml")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
