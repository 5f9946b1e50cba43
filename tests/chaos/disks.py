"""A small disk of its own for a test, where mounting one is allowed, and how it gets full."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

BALLAST = "ballast"
CHUNK_BYTES = 1 << 16


class NoDiskError(RuntimeError):
    """This process may not mount a filesystem."""


@contextmanager
def small_disk(mebibytes: int) -> Generator[Path]:
    """Mount a filesystem in memory; raises NoDiskError where that needs more rights."""
    with TemporaryDirectory(prefix="chaos-disk-") as folder:
        size = f"size={mebibytes}m"
        mount = ["mount", "-t", "tmpfs", "-o", size, "none", folder]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            raise NoDiskError from error
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True)


@contextmanager
def filled(disk: Path) -> Generator[None]:
    """Leave not a byte on a disk inside the block."""
    ballast = disk / BALLAST
    try:
        with ballast.open("ab", buffering=0) as file:
            size = CHUNK_BYTES
            while size:
                try:
                    file.write(b"\0" * size)
                except OSError:
                    size //= 2
        yield
    finally:
        ballast.unlink()
