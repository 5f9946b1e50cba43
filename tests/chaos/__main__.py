"""`python -m tests.chaos --mode servers --faults 200 --jobs 500 --seed 1`: see `make chaos`."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from random import Random

from rich.console import Console

from tests.chaos.audit import settle_and_audit
from tests.chaos.disks import NoDiskError, small_disk
from tests.chaos.faults import FAULTS, Fault, PromiseBrokenError
from tests.chaos.load import Load
from tests.chaos.stack import Stack
from tests.integration.deployment import Mode

MODES = {"embedded": Mode.EMBEDDED, "servers": Mode.SERVERS}
DISK_MEBIBYTES = 128
SECONDS_INSIDE = (0.3, 2.0)
"""How long a fault lasts, besides what it needs to happen."""
ARRIVAL_SECONDS = 40.0
"""A fault that no job came near enough to is drawn again."""

console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)


def main() -> int:
    """Let faults happen under load; return 1 if anything was lost, doubled or left behind."""
    arguments = _parse()
    began = time.monotonic()
    with ExitStack() as cleanup:
        stack = cleanup.enter_context(
            Stack(MODES[arguments.mode], data_dir=_disk(cleanup), arrival_seconds=ARRIVAL_SECONDS)
        )
        try:
            load, happened, missed, broken = _let_happen(stack, arguments)
            tally = settle_and_audit(stack, load.submissions)
        finally:
            if arguments.keep_logs is not None:
                arguments.keep_logs.mkdir(parents=True, exist_ok=True)
                for log in stack.root.glob("*.log"):
                    (arguments.keep_logs / log.name).write_bytes(log.read_bytes())
    console.print(f"\n{arguments.mode}, seed {arguments.seed}: {happened.total()} faults")
    for name, count in sorted(happened.items()):
        console.print(f"  {count:4d}  {name}")
    for name, count in sorted(missed.items()):
        console.print(f"  {count:4d}  {name} could not be made to happen in time")
    for promise in broken:
        console.print(f"  broken: {promise}")
    console.print(str(tally))
    console.print(f"longest time without acceptance: {load.longest_without_acceptance:.1f} s")
    console.print(f"took {time.monotonic() - began:.0f} s")
    return 0 if tally.is_clean and not broken else 1


def _let_happen(
    stack: Stack, arguments: argparse.Namespace
) -> tuple[Load, Counter[str], Counter[str], list[str]]:
    """Spread the jobs over the faults; return what happened, what did not, and broken promises.

    A fault that could not be made to happen is drawn again later, with further jobs.
    """
    random = Random(arguments.seed)
    happened, missed, broken = Counter[str](), Counter[str](), list[str]()
    possible = [fault for fault in FAULTS if fault.can_happen_to(stack)]
    began = time.monotonic()
    with Load(stack.base_url, headers=stack.headers, by_allowance=True) as load:
        allowed = 0
        for number, fault in enumerate(_drawn(possible, random), start=1):
            due = arguments.jobs * number // arguments.faults
            load.allow(due - allowed)
            allowed = due
            console.print(f"{time.monotonic() - began:6.0f} s  {number:4d}  {fault.name}")
            try:
                with fault.happen(stack, random):
                    time.sleep(random.uniform(*SECONDS_INSIDE))
                happened[fault.name] += 1
            except TimeoutError as error:
                console.print(f"          {error}")
                missed[fault.name] += 1
                stack.revive()
            except PromiseBrokenError as error:
                console.print(f"          {error}")
                broken.append(str(error))
                stack.revive()
            if happened.total() + len(broken) == arguments.faults:
                break
        while len(load.submissions) < allowed or load.unanswered:
            time.sleep(0.1)
    return load, happened, missed, broken


def _disk(cleanup: ExitStack) -> Path | None:
    try:
        return cleanup.enter_context(small_disk(DISK_MEBIBYTES))
    except NoDiskError:
        console.print("mounting is not allowed: a full disk is simulated alone")
        return None


def _drawn(possible: list[Fault], random: Random) -> Generator[Fault]:
    """Every fault as often as any other, in an order of chance."""
    while True:
        yield from random.sample(possible, len(possible))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--mode", choices=sorted(MODES), default="embedded")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep-logs", type=Path, help="folder to copy every process's log to")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
