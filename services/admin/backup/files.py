"""Copies of published folders: never changed once they are there, so the last backup's will do."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

COPY_BYTES = 1 << 20
OWNER_ONLY = 0o600


@dataclass(kw_only=True, slots=True)
class CopiedFiles:
    """Files of one backup as they are copied, with their hashes by path."""

    target: Path
    """The backup's folder of files."""
    earlier: Path | None = None
    """That of the backup before."""
    earlier_hashes: Mapping[str, str] = field(default_factory=dict[str, str])
    hashes: dict[str, str] = field(default_factory=dict[str, str])
    byte_count: int = 0
    linked_count: int = 0
    """Files that are one with those of the backup before."""

    def copy_folder(self, source: Path, name: str) -> bool:
        """Copy a folder under a name; False, and nothing of it, if it is removed meanwhile."""
        copied: dict[str, str] = {}
        linked, copied_bytes = 0, 0
        try:
            for path in _files(source):
                key = f"{name}/{path.relative_to(source).as_posix()}"
                known = self._link(path, key)
                linked += known is not None
                copied[key] = known or copy_file(path, self.target / key)
                copied_bytes += (self.target / key).stat().st_size
        except FileNotFoundError:
            for key in copied:
                (self.target / key).unlink()
            return False
        self.hashes |= copied
        self.byte_count += copied_bytes
        self.linked_count += linked
        return bool(copied)

    def _link(self, path: Path, key: str) -> str | None:
        """Link to the copy of the backup before; its hash, or None where there is no such copy."""
        sha256 = self.earlier_hashes.get(key)
        if self.earlier is None or sha256 is None:
            return None
        kept = self.earlier / key
        now = path.stat()
        try:
            then = kept.stat()
        except FileNotFoundError:
            return None
        if (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns):
            return None
        target = self.target / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(kept)
        return sha256


def copy_file(source: Path, target: Path, *, mode: int | None = None) -> str:
    """Copy a file with its time of change and return its SHA-256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("xb") as written:
        if mode is not None:
            target.chmod(mode)
        while chunk := read.read(COPY_BYTES):
            digest.update(chunk)
            written.write(chunk)
        times = os.fstat(read.fileno())
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder.

    Raises:
        FileNotFoundError: the folder is not there any more.
    """
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files(path)
        else:
            yield path
