import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from services.embedded.children import Child, ChildDiedError
from tests.waiting import PATIENCE_SECONDS, wait_until

Start = Callable[[str], Child]

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    children: list[Child] = []

    def start(code: str) -> Child:
        command = [sys.executable, "-c", code]
        children.append(Child("child", command, os.environ, tmp_path / "child.log"))
        return children[-1]

    yield start
    for child in children:
        child.kill()


class TestChild:
    def test_a_child_that_died_is_named_with_its_last_words(
        self, start: Start, tmp_path: Path
    ) -> None:
        child = start("import sys; print('last words'); sys.exit(3)")
        wait_until(lambda: not child.is_running)

        with pytest.raises(ChildDiedError) as caught:
            child.check()

        assert (caught.value.name, caught.value.exit_code) == ("child", 3)
        assert "last words" in str(caught.value)

    def test_a_living_child_is_fine(self, start: Start) -> None:
        child = start("import time; time.sleep(600)")

        child.check()
        child.stop(grace_seconds=10)

        assert not child.is_running

    def test_a_child_that_ignores_the_request_is_killed(self, start: Start, tmp_path: Path) -> None:
        child = start(STUBBORN)
        wait_until((tmp_path / "child.log").read_text)

        child.stop(grace_seconds=0.1)

        assert not child.is_running

    def test_a_child_that_was_killed_is_not_killed_again(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        child = start("import time; time.sleep(600)")
        child.kill()
        killed: list[int] = []
        monkeypatch.setattr(os, "killpg", lambda group, _signal: killed.append(group))

        child.kill()
        child.stop(grace_seconds=0.1)

        assert killed == []

    @pytest.mark.skipif(sys.platform != "linux", reason="other kernels tell nobody")
    def test_it_stops_when_its_supervisor_is_killed(self, start: Start, tmp_path: Path) -> None:
        code = (
            "import os, sys, time; from pathlib import Path;"
            "from services.embedded.children import Child;"
            "child = Child('inner', ['sleep', '600'], os.environ, Path('/dev/null'));"
            "print(child.pid, flush=True); time.sleep(600)"
        )
        supervisor = start(code)
        wait_until((tmp_path / "child.log").read_text)
        inner = psutil.Process(int((tmp_path / "child.log").read_text()))

        os.kill(supervisor.pid, signal.SIGKILL)

        psutil.wait_procs([inner], timeout=PATIENCE_SECONDS)
        assert not inner.is_running() or inner.status() == psutil.STATUS_ZOMBIE

    def test_what_the_child_started_is_killed_too(self, start: Start, tmp_path: Path) -> None:
        code = "import subprocess; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True)"
        child = start(f"{code}; p.wait()")
        wait_until((tmp_path / "child.log").read_text)
        grandchild = psutil.Process(int((tmp_path / "child.log").read_text()))

        child.kill()

        psutil.wait_procs([grandchild], timeout=PATIENCE_SECONDS)
        assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE
