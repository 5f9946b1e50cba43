"""Bars on a terminal say how far things are; elsewhere there are none."""

import datetime as dt
import io
from types import SimpleNamespace
from uuid import UUID

import pytest

from services.client.cli.progress import RunBars, duration, upload_bar, work_bar
from services.client.models import Epoch, Run, Work, WorkError

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Terminal(io.StringIO):
    """Text that takes itself for a screen."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    # the module's own name: pytest puts its stderr into sys once more behind this fixture
    monkeypatch.setattr("services.client.cli.progress.sys", SimpleNamespace(stderr=terminal))
    return terminal


def run(state: str, epochs: int = 0, number: int = 1, error: WorkError | None = None) -> Run:
    return Run(
        id=UUID(int=number),
        state=state,
        stage="training",
        progress=epochs / 4,
        created_at=NOW,
        error=error,
        experiment_id=UUID(int=9),
        position=0,
        label="loss-dice",
        seed=number,
        epochs=epochs,
        max_epochs=4,
        eta_seconds=3723.4 if epochs else None,
        best_mean_dice=None,
        mean_dice=0.75 if state == "succeeded" else None,
        test_dice=None,
    )


def epoch(number: int) -> Epoch:
    return Epoch(
        run_id=UUID(int=1),
        epoch=number,
        training_loss=0.25,
        validation_loss=None,
        mean_dice=0.5,
        seconds=1.0,
    )


def test_bytes_are_counted_and_begin_again_when_a_request_does(terminal: Terminal) -> None:
    with upload_bar() as on_bytes:
        on_bytes(1024, 4096)
        on_bytes(512, 4096)
        on_bytes(4096, 4096)

    shown = terminal.getvalue()
    assert "sending" in shown
    assert shown.rstrip().rpartition("\r")[2].startswith("sending: 100%")
    assert "4.00k/4.00k" in shown


def test_work_shows_its_stage_and_may_go_back(terminal: Terminal) -> None:
    reading = Work(
        id=UUID(int=1), state="running", stage="reading", progress=0.1, created_at=NOW, error=None
    )
    with work_bar() as on_progress:
        on_progress(reading)
        on_progress(reading.model_copy(update={"stage": "waiting", "progress": 0.0}))
        on_progress(reading.model_copy(update={"stage": "contouring", "progress": 0.6}))

    assert "reading  10 %" in terminal.getvalue()
    assert "waiting   0 %" in terminal.getvalue()
    last = terminal.getvalue().rstrip().rpartition("\r")[2]
    assert "contouring" in last
    assert " 60 %" in last


def test_every_running_run_has_a_bar_with_loss_and_time_left(terminal: Terminal) -> None:
    with RunBars() as bars:
        bars.show(run("running"))
        bars.show(run("running", number=2))
        bars.show(epoch(1))
        bars.show(run("running", epochs=1))

    shown = terminal.getvalue()
    assert "loss-dice seed 1 (1:02:03 left)" in shown
    assert "1/4 epochs" in shown
    assert "loss 0.2500, Dice 0.500" in shown
    assert "loss-dice seed 2" in shown


def test_a_run_that_ended_is_told_once(terminal: Terminal) -> None:
    with RunBars() as bars:
        bars.show(run("running"))
        bars.show(run("succeeded", epochs=4))
        bars.show(run("succeeded", epochs=4))

    line = "loss-dice seed 1: succeeded after 4 epochs, validation Dice 0.750"
    assert terminal.getvalue().count(line) == 1


def test_a_run_that_was_resumed_ends_again(terminal: Terminal) -> None:
    error = WorkError(code="time_limit", detail="too long", context={})
    with RunBars() as bars:
        bars.show(run("failed", epochs=1, error=error))
        bars.show(run("running", epochs=2))
        bars.show(run("succeeded", epochs=4))

    assert "seed 1: failed: time_limit: too long" in terminal.getvalue()
    assert "seed 1: succeeded after 4 epochs" in terminal.getvalue()


def test_where_stderr_is_no_terminal_only_ended_runs_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with upload_bar() as on_bytes:
        on_bytes(1, 2)
    with RunBars() as bars:
        bars.show(run("running"))
        bars.show(epoch(1))
        bars.show(run("cancelled", epochs=1))

    assert capsys.readouterr() == ("", "loss-dice seed 1: cancelled after 1 epochs\n")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00:00"), (59.6, "0:01:00"), (90061, "25:01:01")]
)
def test_times_are_written_in_hours(seconds: float, text: str) -> None:
    assert duration(seconds) == text
