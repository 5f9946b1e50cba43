"""What tests do to processes, and how they look at them."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import psutil
import sqlalchemy as sa

from services.embedded.children import Child
from tests.waiting import wait_until

OPEN_TRANSACTIONS = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and that nobody asked for its end does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_family(worker: Child) -> None:
    """Kill a process and return once everything it started is dead: none extends a lease then."""
    family = psutil.Process(worker.pid).children(recursive=True)
    worker.kill()
    wait_until(lambda: not any(is_alive(process.pid) for process in family))


def freeze(group: int, engine: sa.Engine) -> None:
    """Stop a process group at a moment at which nobody in it holds the database.

    SIGSTOP may come in the midst of a transaction, and whoever wants to write would then wait for
    as long as the group is stopped.
    """

    def is_frozen() -> bool:
        os.killpg(group, signal.SIGSTOP)
        wait_until(lambda: _are_stopped(group))
        if _is_free(engine):
            return True
        os.killpg(group, signal.SIGCONT)
        return False

    wait_until(is_frozen)


def thaw(group: int) -> None:
    """Let a group that was frozen go on."""
    os.killpg(group, signal.SIGCONT)


def _are_stopped(group: int) -> bool:
    """Tell whether every thread obeyed SIGSTOP: one in a system call ends that first."""
    family = [group, *(child.pid for child in psutil.Process(group).children(recursive=True))]
    return all(
        _is_stopped(path) for pid in family for path in Path(f"/proc/{pid}/task").glob("*/stat")
    )


def _is_stopped(stat: Path) -> bool:
    try:
        return stat.read_text().rpartition(") ")[2][0] in "TZX"
    except (FileNotFoundError, ProcessLookupError):  # the thread came to its end
        return True


def _is_free(engine: sa.Engine) -> bool:
    if engine.dialect.name != "sqlite":
        with engine.connect() as connection:
            return connection.scalar(OPEN_TRANSACTIONS) == 0
    path = str(engine.url.database)
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True
