"""Load: what the service does when much is asked of it for long, on real servers.

python -m bench.load ingest      # the same series into the service and into Orthanc, in turns
"""

import argparse
from collections.abc import Callable

from bench.load.ingest import IngestSize, compare_ingest
from bench.load.jobs import JobsLoad, measure_jobs
from bench.load.orthanc import enter_namespace
from bench.load.sizes import measure_sizes

EXAMPLES = """\
examples:
  python -m bench.load jobs                    # sustained submissions and every route
  python -m bench.load jobs --uploads 2000     # the memory of API and workers over them
  python -m bench.load sizes                   # the memory of one upload by its size
  python -m bench.load ingest                  # in turns with Orthanc
"""


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.load",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, add in (("jobs", _add_jobs), ("sizes", _add_sizes), ("ingest", _add_ingest)):
        add(commands.add_parser(name))
    arguments = vars(parser.parse_args())
    run: Callable[..., None] = arguments.pop("run")
    del arguments["command"]
    run(**arguments)


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--slices", type=int, default=20)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--empty", action="store_true", help="begin with empty tables")
    parser.set_defaults(run=_run_jobs)


def _run_jobs(*, empty: bool, **load: int) -> None:
    measure_jobs(JobsLoad(is_filled=not empty, **load))


def _add_sizes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--megabytes", type=int, nargs="+", default=[50, 200, 1000])
    parser.set_defaults(run=measure_sizes)


def _add_ingest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slices", type=int, default=150)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--senders", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=8)
    parser.set_defaults(run=_run_ingest)


def _run_ingest(**size: int) -> None:
    enter_namespace()
    compare_ingest(IngestSize(**size))


if __name__ == "__main__":
    main()
