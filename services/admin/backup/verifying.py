"""Reads a backup again and compares every byte with what was noted when it was made."""

from dataclasses import dataclass
from pathlib import Path

from services.admin.backup.layout import (
    FILES,
    STORAGE,
    Manifest,
    read_hashes,
    read_manifest,
    sha256_of,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What a backup was found to be."""

    manifest: Manifest
    faults: list[str]
    """A sentence for everything that is not as it was; none where it is whole."""


def verify_backup(folder: Path) -> Verification:
    """Compare database, list and files of a backup with their hashes.

    Raises:
        BackupError: it is no backup.
    """
    manifest = read_manifest(folder)
    faults = [
        f"{name}: {fault}"
        for name, sha256 in (
            (manifest.database_file, manifest.database_sha256),
            (FILES, manifest.files_sha256),
        )
        if (fault := _fault(folder / name, sha256))
    ]
    if not faults:
        listed: set[str] = set()
        for path, sha256 in read_hashes(folder):
            listed.add(path)
            if fault := _fault(folder / STORAGE / path, sha256):
                faults.append(f"{STORAGE}/{path}: {fault}")
        faults += [f"{STORAGE}/{path}: not listed" for path in sorted(_present(folder) - listed)]
    return Verification(manifest=manifest, faults=faults)


def _fault(path: Path, sha256: str) -> str | None:
    try:
        found = sha256_of(path)
    except FileNotFoundError:
        return "missing"
    return None if found == sha256 else "changed"


def _present(folder: Path) -> set[str]:
    root = folder / STORAGE
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
