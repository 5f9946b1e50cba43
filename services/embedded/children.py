"""One process of the embedded stack: started apart, watched, stopped without fail."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

LOG_TAIL_LINES = 20
"""Of a child that died: enough for a traceback's end."""


LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Have the kernel ask this process to stop when its parent dies, where it can.

    A supervisor that is killed stops nobody, and what it had started would hold the port and take
    work beside the next one's workers.
    """
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class ChildDiedError(RuntimeError):
    """A process of the stack ended by itself.

    Attributes:
        name: which one.
        exit_code: as subprocess reports it; negative for a signal.
        log_path: where its whole output lies.
    """

    def __init__(self, name: str, exit_code: int, log_path: Path) -> None:
        tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        super().__init__(f"{name} ended with exit code {exit_code}; {log_path} ends:\n{tail}")
        self.name = name
        self.exit_code = exit_code
        self.log_path = log_path


class Child:
    """A process in a session of its own, so that a Ctrl-C reaches the supervisor only."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log_path: Path
    ) -> None:
        self.name = name
        self._log_path = log_path
        self._is_killed = False
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (the command is ours)
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (one system call, which takes no lock)
            )

    @property
    def pid(self) -> int:
        """Process id, also of the process group with everything the child started."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Tell whether the process lives."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the process ended, as subprocess reports it; None while it lives."""
        return self._process.poll()

    def check(self) -> None:
        """Return if the process lives.

        Raises:
            ChildDiedError: it does not.
        """
        if not self.is_running:
            raise ChildDiedError(self.name, self._process.returncode, self._log_path)

    def ask_to_stop(self) -> None:
        """Send SIGTERM: end after the work in hand."""
        if self.is_running:
            self._process.terminate()

    def stop(self, grace_seconds: float) -> None:
        """End the process and all it started: asked first, killed after the grace time."""
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):  # a hung one is killed; the lease keeps its job
            self._process.wait(grace_seconds)
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to the process and all it started, as a crash or the OOM killer would.

        Done once: the number of a group that is gone may be another's by and by.
        """
        if self._is_killed:
            return
        with suppress(ProcessLookupError):  # the whole group ended by itself
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._is_killed = True
