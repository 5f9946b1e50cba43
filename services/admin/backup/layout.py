"""What a backup looks like, so that it can be read without this program too.

<folder>/                      of all backups, on one filesystem: unchanged files are links
    last-backup.json           of the last one that succeeded: its name and when it began
    last-backup.prom           the same for a monitoring system that reads text files
    20260131T235900Z/          one backup; a name that begins with a dot is one that did not end
        manifest.json          what it is of, and the hashes of the next two
        database.dump          pg_dump's custom format; database.sqlite on the embedded default
        files.sha256           every file below storage/, as sha256sum -c reads it
        storage/<kind>/<id>/...
        storage/key-ids/...    notes that tell the keys from others
        storage/private/...    only if asked for
"""

import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.core.errors import ServiceError

FORMAT = 1
MANIFEST = "manifest.json"
FILES = "files.sha256"
STORAGE = "storage"
PRIVATE = "private"
KEY_IDS = "key-ids"
"""Notes that tell the keys of private/ from others; no key can be had from them."""
NAME_FORMAT = "%Y%m%dT%H%M%SZ"
LAST_JSON = "last-backup.json"
LAST_METRIC = "last-backup.prom"
METRIC = "cervicontour_backup_last_success_timestamp_seconds"


class BackupError(ServiceError):
    """A backup cannot be made, trusted or restored."""

    code = "backup_failed"


class TargetNotEmptyError(BackupError):
    """What a backup was to be restored into has something already."""

    code = "target_not_empty"


class NotMigratedError(BackupError):
    """A backup was restored, but its tables could not be brought to those of this release."""

    code = "not_migrated"

    def __init__(self, revision: str, reason: str) -> None:
        super().__init__(
            f"files and rows are restored, with the tables of revision {revision}; migrating "
            f"these failed ({reason}) and changed nothing: remove the cause, then run "
            "`alembic upgrade head`",
            revision=revision,
            reason=reason,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a backup is of."""

    format: int
    created_at: str
    software_version: str
    schema_revision: str
    database: str
    """postgresql or sqlite."""
    database_file: str
    database_sha256: str
    files_sha256: str
    """Of the list of files."""
    file_count: int
    byte_count: int
    has_private_keys: bool
    gone: list[str]
    """<kind>/<id> of what the snapshot of the database names and was removed before it was copied:
    retention and deletions go on during a backup."""
    missing: list[str]
    """The same for what nobody removed: the storage had lost it before."""


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put a manifest into a backup."""
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Return what a backup says of itself.

    Raises:
        BackupError: it is none, or of a later format.
    """
    try:
        values: dict[str, Any] = json.loads((folder / MANIFEST).read_text())  # Any: json
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise BackupError(f"{folder} is no complete backup", folder=str(folder)) from error
    if values.get("format") != FORMAT:
        raise BackupError(f"{folder} is a backup of another format", format=values.get("format"))
    return Manifest(**values)


def backups_in(folder: Path) -> list[Path]:
    """List the complete backups of a folder, oldest first."""
    return sorted(path for path in folder.iterdir() if is_backup_name(path.name))


def is_backup_name(name: str) -> bool:
    """Tell whether a folder of that name is a complete backup."""
    try:
        dt.datetime.strptime(name, NAME_FORMAT).replace(tzinfo=dt.UTC)
    except ValueError:
        return False
    return True


def read_hashes(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield path and SHA-256 of every file of a backup."""
    with (folder / FILES).open(encoding="utf-8") as lines:
        for line in lines:
            sha256, path = line.rstrip("\n").split("  ", 1)
            yield path, sha256


def sha256_of(path: Path) -> str:
    """Return the hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
