"""Work is looked at until it is over, or until patience is."""

import datetime as dt
from typing import Any
from uuid import UUID

import pytest

from services.client.errors import WaitedTooLongError, WorkFailedError
from services.client.models import Work, WorkError
from services.client.waiting import Patience, check_succeeded, wait_until_over

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def work(state: str, progress: float = 0.0, error: WorkError | None = None) -> Work:
    return Work(
        id=UUID(int=1), state=state, stage="x", progress=progress, created_at=NOW, error=error
    )


class Steps:
    """Work that goes on with every look, and a clock that every sleep moves."""

    def __init__(self, *states: Work) -> None:
        self._states = list(states)
        self.seconds = 0.0

    def look(self) -> Work:
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]

    def patience(self, **values: Any) -> Patience:
        return Patience(sleep=self._sleep, now=lambda: self.seconds, **values)

    def _sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_every_look_is_told_until_work_is_over() -> None:
    steps = Steps(work("queued"), work("running", 0.5), work("succeeded", 1.0))
    told: list[float] = []

    done = wait_until_over(steps.look, lambda w: told.append(w.progress), steps.patience())

    assert (done.state, told, steps.seconds) == ("succeeded", [0.0, 0.5, 1.0], 2.0)


@pytest.mark.parametrize("state", ["failed", "cancelled", "succeeded"])
def test_work_is_over_in_whatever_way(state: str) -> None:
    assert wait_until_over(lambda: work(state)).state == state


def test_patience_ends() -> None:
    steps = Steps(work("running"))

    with pytest.raises(WaitedTooLongError, match="goes on"):
        wait_until_over(steps.look, patience=steps.patience(poll_seconds=2.0, timeout_seconds=5.0))

    assert steps.seconds == 6.0


def test_a_success_is_checked() -> None:
    check_succeeded(work("succeeded"))


def test_a_failure_has_the_code_of_the_service() -> None:
    error = WorkError(code="worker_lost", detail="its worker died", context={})

    with pytest.raises(WorkFailedError, match="its worker died") as caught:
        check_succeeded(work("failed", error=error))

    assert caught.value.code == "worker_lost"


def test_cancelled_work_has_a_code_too() -> None:
    with pytest.raises(WorkFailedError, match="is cancelled") as caught:
        check_succeeded(work("cancelled"))

    assert caught.value.code == "work_cancelled"
