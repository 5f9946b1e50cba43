"""`python -m services.embedded serve` runs the service here; `demo` shows what it does."""

import argparse
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from services.core.errors import ServiceError
from services.embedded.children import ChildDiedError
from services.embedded.supervisor import EmbeddedStack, StackBusyError, StackNotReadyError

WATCH_SECONDS = 0.5


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = _parse()
    console = Console()
    try:
        if arguments.command == "demo":
            # Imported late: serving needs none of the demonstration's libraries.
            from services.embedded.demo import run_demo  # noqa: PLC0415

            run_demo(arguments.data_dir, console)
        else:
            stack = EmbeddedStack(
                arguments.data_dir,
                host=arguments.host,
                port=arguments.port,
                training_workers=arguments.training_workers,
            )
            _serve(stack)
    except KeyboardInterrupt:
        return 130  # while starting; as shells report an interrupted command
    except (ChildDiedError, StackBusyError, StackNotReadyError, ServiceError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    return 0


def _serve(stack: EmbeddedStack) -> None:
    """Keep the service up until a signal comes or one of its processes dies again and again."""
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
    with stack, suppress(KeyboardInterrupt):
        console.print(f"CerviContour at {stack.base_url} (API: {stack.base_url}/docs)")
        console.print(f"Key of the administrator in {stack.key_path}")
        if stack.is_open_to_others:
            folder = stack.key_path.parent
            sentence = f"Other users of this machine can look into {folder}: chmod -R go= {folder}"
            console.print(sentence, style="yellow", markup=False)
        console.print(f"Logs in {stack.log_dir}; stop with Ctrl-C")
        while True:
            for sentence in stack.keep_alive():
                console.print(sentence, style="yellow", markup=False)
            time.sleep(WATCH_SECONDS)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.embedded", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the service until Ctrl-C")
    serve.add_argument("--host", default="127.0.0.1", help="address the API listens on")
    serve.add_argument("--port", type=int, default=8000, help="port of the API; 0: a free one")
    serve.add_argument(
        "--training-workers", type=int, default=1, help="that share the runs of experiments"
    )
    demo = commands.add_parser("demo", help="contour a synthetic patient and judge the result")
    for command, folder in ((serve, "var/service"), (demo, "var/demo")):
        command.add_argument(
            "--data-dir", type=Path, default=Path(folder), help="where to keep data"
        )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
