"""What every command shares: the address, how answers are printed, and how errors end it."""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import click

from services.client.client import DEFAULT_BASE_URL, DEFAULT_TIMEOUT_SECONDS, CerviContourClient
from services.client.errors import ClientError, ProblemError, ServiceUnreachableError
from services.client.models import Resource

URL_VARIABLE = "CERVICONTOUR_URL"
KEY_VARIABLE = "CERVICONTOUR_API_KEY"
KEY_FILE_VARIABLE = "CERVICONTOUR_API_KEY_FILE"
FAILED_STATUS = 1
UNREACHABLE_STATUS = 3
INTERRUPTED_STATUS = 130
"""As shells have it: 128 + SIGINT."""

Command = TypeVar("Command", bound=Callable[..., Any])  # Any: of any signature


@dataclass(kw_only=True, slots=True)
class Session:
    """The options that stand before or behind a command's name."""

    url: str = field(default_factory=lambda: os.environ.get(URL_VARIABLE) or DEFAULT_BASE_URL)
    is_json: bool = False
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    trust_env: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    api_key_file: Path | None = None

    def api_key(self) -> str | None:
        """Return the key of the option's file, or of the variables; None where there is none.

        Raises:
            OSError: the file cannot be read.
        """
        path = self.api_key_file or os.environ.get(KEY_FILE_VARIABLE)
        if path is None and os.environ.get(KEY_VARIABLE):
            return os.environ[KEY_VARIABLE].strip()
        return None if path is None else Path(path).read_text().strip()

    def client(self) -> CerviContourClient:
        """Return a client of the service.

        Raises:
            click.UsageError: the address is none, or the key cannot be sent.
        """
        try:
            return CerviContourClient(
                self.url,
                api_key=self.api_key(),
                timeout=self.timeout_seconds,
                headers=self.headers,
                trust_env=self.trust_env,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    def show(self, answer: Resource, *lines: str) -> None:
        """Print the json of an answer where that is wanted, and the lines else."""
        if self.is_json:
            _echo_json(answer.model_dump(mode="json"))
            return
        for line in lines:
            click.echo(line)

    def show_list(
        self,
        items: Iterable[Resource],
        headings: tuple[str, ...],
        row_of: Callable[[Any], tuple[object, ...]],  # Any: the items' own model
    ) -> None:
        """Print a list as json or as a table."""
        if self.is_json:
            _echo_json([item.model_dump(mode="json") for item in items])
        else:
            click.echo(table(headings, [row_of(item) for item in items]))


class ServiceGroup(click.Group):
    """A group of commands whose errors are one line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # Any: what the command returns
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ServiceUnreachableError as error:
            raise _Unreachable(error.code, str(error)) from error
        except ClientError as error:
            raise _Refusal(error.code, _sentence(error)) from error
        except OSError as error:
            raise _Refusal("file", str(error)) from error
        except KeyboardInterrupt as error:
            message = "stopped; what the service was asked to do goes on"
            raise _Interrupted("interrupted", message) from error


class _Refusal(click.ClickException):
    exit_code = FAILED_STATUS

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def show(self, file: Any = None) -> None:  # noqa: ANN401, ARG002  # click's interface
        """Say what is wrong in one line."""
        click.echo(f"error: {self.code}: {' '.join(self.message.split())}", err=True)


class _Unreachable(_Refusal):
    exit_code = UNREACHABLE_STATUS


class _Interrupted(_Refusal):
    exit_code = INTERRUPTED_STATUS


def _sentence(error: ClientError) -> str:
    """Say what is wrong, and where in the request, or where in the service's log."""
    sentence = str(error)
    if not isinstance(error, ProblemError):
        return sentence
    for fault in error.context.get("errors", []):
        sentence += f" {'.'.join(fault['location'])}: {fault['message']}."
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        sentence += f" (correlation id {error.correlation_id})"
    return sentence


def service_options(command: Command) -> Command:
    """Give a command the options that every command has."""
    for option in (_JSON_OPTION, _URL_OPTION):
        command = option(command)
    return command


def _noting(name: str) -> Callable[[click.Context, click.Parameter, object], None]:
    """Return a callback that keeps an option's value in the session, where one was given."""

    def note(ctx: click.Context, _: click.Parameter, value: object) -> None:
        if value not in (None, False):
            setattr(ctx.ensure_object(Session), name, value)

    return note


_URL_OPTION = click.option(
    "--url",
    expose_value=False,
    callback=_noting("url"),
    help=f"Address of the service; else {URL_VARIABLE}, else {DEFAULT_BASE_URL}.",
)
_JSON_OPTION = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_noting("is_json"),
    help="Print what the service answers, as json.",
)


def table(headings: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """Return rows under their headings, in columns; what is None is a dash."""
    texts = [headings, *(tuple(_cell(value) for value in row) for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(headings))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in texts]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _echo_json(values: object) -> None:
    click.echo(json.dumps(values, indent=2, ensure_ascii=False))
