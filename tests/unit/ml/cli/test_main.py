import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from ml.cli.errors import refusing
from ml.cli.lazy import LazyCommand, LazyGroup
from ml.cli.main import COMMANDS, cli
from ml.config import ConfigError
from ml.data.dataset import DatasetError
from ml.dicom.errors import DicomError, DicomErrorCode


def group_of(function):
    """A group whose only command does what is given."""

    class OneCommand(LazyGroup):
        def get_command(self, ctx, cmd_name):
            return click.Command("do", callback=function) if cmd_name == "do" else None

    table = {"do": LazyCommand(module="nowhere", summary="Do it.")}
    return OneCommand("group", table=table)


def raising(error):
    def function():
        raise error

    return group_of(function)


class TestHelp:
    def test_lists_every_command_with_its_summary(self):
        result = CliRunner().invoke(cli, ["--help"])

        assert result.exit_code == 0
        for name, entry in COMMANDS.items():
            assert name in result.output
            assert entry.summary.split()[0] in result.output

    @pytest.mark.parametrize("name", COMMANDS)
    def test_of_every_command_comes_with_an_example(self, name):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        leaves = command.commands.values() if isinstance(command, click.Group) else [command]

        for leaf in leaves:
            assert "Example:" in (leaf.help or "")

    def test_does_not_import_torch(self):
        program = (
            "import sys\n"
            "from ml.cli.main import cli\n"
            "cli(['--help'], standalone_mode=False)\n"
            "sys.exit('torch' in sys.modules)\n"
        )
        run = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
        assert run.returncode == 0, run.stderr.decode()
        assert b"phantom" in run.stdout


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (DatasetError("no such case"), "error: dataset: no such case\n"),
            (ConfigError("training.seed", "is odd"), "error: config: training.seed: is odd\n"),
            (
                DicomError(DicomErrorCode.GANTRY_TILT, "it is tilted"),
                "error: gantry_tilt: it is tilted\n",
            ),
        ],
    )
    def test_known_ones_are_one_line_with_a_code_and_status_2(self, error, line):
        result = CliRunner().invoke(raising(error), ["do"])

        assert (result.exit_code, result.stderr, result.stdout) == (2, line, "")

    def test_a_command_refuses_under_a_code_of_its_own(self):
        def function():
            with refusing("weights", OSError):
                raise OSError("no such file")

        result = CliRunner().invoke(group_of(function), ["do"])

        assert (result.exit_code, result.stderr) == (2, "error: weights: no such file\n")

    def test_bugs_are_not_hidden(self):
        with pytest.raises(ZeroDivisionError):
            CliRunner().invoke(raising(ZeroDivisionError()), ["do"], catch_exceptions=False)

    @pytest.mark.parametrize("arguments", [["do", "--colour"], ["undo"], ["--colour"]])
    def test_wrong_usage_is_one_line_too(self, arguments):
        result = CliRunner().invoke(group_of(lambda: None), arguments)

        assert result.exit_code == 2
        assert result.stderr.startswith("error: usage: No such ")
        assert result.stderr.count("\n") == 1

    def test_ctrl_c_is_no_traceback(self):
        result = CliRunner().invoke(raising(KeyboardInterrupt()), ["do"])

        assert result.exit_code == 130
        assert "error: interrupted" in result.stderr

    def test_success_is_status_0(self):
        assert CliRunner().invoke(group_of(lambda: None), ["do"]).exit_code == 0
