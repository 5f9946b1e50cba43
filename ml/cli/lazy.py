"""A command group that imports a command's module when the command is run, not before."""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from ml.cli.errors import BAD_INPUT_STATUS, BadInputError, refusing_known_errors

INTERRUPTED_STATUS = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LazyCommand:
    """Where a command is, and what the group's help says of it."""

    module: str
    """Holds a click command named `command`."""
    summary: str


class LazyGroup(click.Group):
    """A group over a table of commands; its help comes from the table alone."""

    def __init__(self, *args: Any, table: Mapping[str, LazyCommand], **options: Any) -> None:  # noqa: ANN401  # Any: click's own options
        super().__init__(*args, **options)
        self._table = dict(table)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's interface
        """List the commands in the table's order: the order of use."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's interface
        """Import the named command."""
        if cmd_name not in self._table:
            return None
        return importlib.import_module(self._table[cmd_name].module).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's interface
        """Write the list of commands without importing them."""
        rows = [(name, entry.summary) for name, entry in self._table.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # Any: what the command returns
        """Run the command; known errors become refusals."""
        with refusing_known_errors():
            return super().invoke(ctx)

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:  # noqa: ANN401  # Any: as click's own
        """Run the command line; errors are one line on stderr and an exit code."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        try:
            status = super().main(*args, standalone_mode=False, **extra)
        except click.ClickException as error:
            _leave(_code(error), _sentence(error), error.exit_code)
        except click.Abort:
            _leave("interrupted", "stopped by the user", INTERRUPTED_STATUS)
        sys.exit(status if isinstance(status, int) else 0)


def _code(error: click.ClickException) -> str:
    return error.code if isinstance(error, BadInputError) else "usage"


def _sentence(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{message} (see {error.ctx.command_path} --help)"
    return message


def _leave(code: str, message: str, status: int = BAD_INPUT_STATUS) -> NoReturn:
    click.echo(f"error: {code}: {message}", err=True)
    sys.exit(status)
