"""What holds for every command: help with an example, addresses, exit codes."""

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from services.client.cli.main import cli
from tests.factories.servers import Scripted, ScriptedServer

pytestmark = pytest.mark.enable_socket


def commands(
    group: click.Group = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group by its path."""
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = {" ".join(path): command for path, command in commands()}
LEAVES = {name: c for name, c in ALL.items() if not isinstance(c, click.Group)}
READY = Scripted(body=b'{"status": "ready", "checks": {}, "workers": []}')


def test_there_are_the_commands_an_administrator_expects() -> None:
    expected = {
        "submit", "watch", "download", "jobs", "cancel", "health",
        "dataset create", "dataset upload", "dataset index", "dataset show", "dataset cases",
        "dataset mapping",
        "experiment start", "experiment watch", "experiment list", "experiment show",
        "experiment cancel", "experiment report", "experiment scores",
        "model promote", "model list", "model alias", "model rollback", "model export",
        "model import",
        "review submit", "review upload-edit", "review acceptability",
    }  # fmt: skip
    assert expected <= LEAVES.keys()


@pytest.mark.parametrize("name", ["", *ALL])
def test_every_command_has_help_with_an_example_of_itself(name: str) -> None:
    result = CliRunner().invoke(cli, [*name.split(), "--help"])

    assert result.exit_code == 0
    _, _, example = result.output.partition("Example:  ")
    assert example.startswith(f"cervicontour-client {name}")


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_takes_an_address_and_json(name: str) -> None:
    options = {option for param in LEAVES[name].params for option in param.opts}

    assert {"--url", "--json"} <= options


def test_the_address_may_stand_before_or_behind_the_command_or_in_the_environment() -> None:
    with ScriptedServer(READY) as server:
        nowhere = {"CERVICONTOUR_URL": "http://127.0.0.1:1"}
        for arguments, variables in (
            (["--url", server.url, "health"], nowhere),
            (["health", "--url", server.url], nowhere),
            (["health"], {"CERVICONTOUR_URL": server.url}),
        ):
            assert CliRunner().invoke(cli, arguments, env=variables).exit_code == 0

    assert len(server.seen) == 3


def test_json_may_stand_before_or_behind_the_command() -> None:
    with ScriptedServer(READY) as server:
        for arguments in (["--json", "health"], ["health", "--json"]):
            result = CliRunner().invoke(cli, [*arguments, "--url", server.url])
            assert json.loads(result.stdout) == {"status": "ready", "checks": {}, "workers": []}


def test_headers_are_sent() -> None:
    with ScriptedServer(READY) as server:
        arguments = ["--header", "X-Api-Key: a b", "health", "--url", server.url]
        CliRunner().invoke(cli, arguments)
        CliRunner().invoke(cli, arguments[2:], env={"CERVICONTOUR_HEADER": "X-Api-Key: c d"})

    assert [seen.headers.get("X-Api-Key") for seen in server.seen] == ["a b", "c d"]


def test_a_key_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    for name in ("option", "variable"):
        (tmp_path / name).write_text(f"of-the-{name}\n")
    variables = {
        "CERVICONTOUR_API_KEY": "itself",
        "CERVICONTOUR_API_KEY_FILE": str(tmp_path / "variable"),
    }
    with ScriptedServer(READY) as server:
        arguments = ["health", "--url", server.url]
        option = ["--api-key-file", str(tmp_path / "option")]
        CliRunner().invoke(cli, [*option, *arguments], env=variables)
        CliRunner().invoke(cli, arguments, env=variables)
        CliRunner().invoke(cli, arguments, env={"CERVICONTOUR_API_KEY": "itself"})
        CliRunner().invoke(cli, arguments)

    assert [seen.headers.get("Authorization") for seen in server.seen] == [
        "Bearer of-the-option", "Bearer of-the-variable", "Bearer itself", None,
    ]  # fmt: skip


def test_a_key_that_cannot_be_sent_is_not_shown() -> None:
    result = CliRunner().invoke(cli, ["health"], env={"CERVICONTOUR_API_KEY": "my secret"})

    assert result.exit_code == 2
    assert "secret" not in result.output


def test_a_service_that_is_not_there_is_exit_code_3() -> None:
    result = CliRunner().invoke(cli, ["health", "--url", "http://127.0.0.1:1"])

    assert result.exit_code == 3
    assert result.stderr.startswith("error: service_unreachable: http://127.0.0.1:1 ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["health", "--url", "localhost"],
        ["submit"],
        ["submit", "no-such-folder"],
        ["watch", "yesterday"],
        ["--header", "secret", "health"],
        ["weather"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, arguments).exit_code == 2


def test_what_is_no_service_of_ours_is_exit_code_1() -> None:
    with ScriptedServer(Scripted(status=502, body=b"<html>")) as server:
        result = CliRunner().invoke(cli, ["jobs", "--url", server.url])

    assert result.exit_code == 1
    assert result.stderr == (
        "error: unexpected_answer: /v1/contour-jobs was answered with 502: no problem details\n"
    )


def test_an_invalid_request_is_told_field_by_field() -> None:
    fault = {"location": ["query", "limit"], "message": "too large", "type": "x"}
    problem = {
        "code": "validation_error",
        "detail": "It is invalid.",
        "context": {"errors": [fault]},
    }
    with ScriptedServer(Scripted(status=422, body=json.dumps(problem).encode())) as server:
        result = CliRunner().invoke(cli, ["jobs", "--url", server.url])

    assert result.stderr == ("error: validation_error: It is invalid. query.limit: too large.\n")


def test_an_error_of_the_service_names_where_its_operators_look() -> None:
    problem = {"code": "internal_error", "detail": "It failed.", "correlation_id": "abc12345"}
    with ScriptedServer(Scripted(status=500, body=json.dumps(problem).encode())) as server:
        result = CliRunner().invoke(cli, ["jobs", "--url", server.url])

    assert result.stderr == "error: internal_error: It failed. (correlation id abc12345)\n"


def test_ctrl_c_says_that_the_service_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("services.client.client.CerviContourClient.health", press)

    result = CliRunner().invoke(cli, ["health"])

    assert result.exit_code == 130
    assert "goes on" in result.stderr
