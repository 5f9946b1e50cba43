"""Makes a backup without stopping the service: the database first, then the files its rows name.

What is published is never changed, and rows name only what was published before them. So whatever
the database had at its moment can be copied later, but for what is removed until then.
"""

import datetime as dt
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ml.whole_files import write_whole
from services.admin.backup.databases import (
    Dump,
    Owners,
    PostgresTools,
    dump_database,
    owners_now,
)
from services.admin.backup.files import OWNER_ONLY, CopiedFiles, copy_file
from services.admin.backup.layout import (
    FILES,
    FORMAT,
    KEY_IDS,
    LAST_JSON,
    LAST_METRIC,
    METRIC,
    NAME_FORMAT,
    PRIVATE,
    STORAGE,
    BackupError,
    Manifest,
    backups_in,
    read_hashes,
    sha256_of,
    write_manifest,
)
from services.core.disk import sync
from services.core.repositories.stored_files import KEPT_KINDS
from services.core.storage import FilesystemStorage
from services.core.storage_facts import StorageFacts
from services.core.version import software_version


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupSource:
    """What is backed up."""

    database_url: str
    data_dir: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeBackup:
    """A backup that is complete."""

    folder: Path
    manifest: Manifest
    linked_count: int
    removed: list[str]
    """Names of older backups that were to be kept no longer."""
    of_later_date: list[str]
    """Names of backups from the future: a clock is wrong, or was; nobody removes them."""
    is_known_to_service: bool
    """False where the storage can only be read: then the service's metrics do not show it."""


def create_backup(
    source: BackupSource,
    folder: Path,
    tools: PostgresTools,
    *,
    keep: int | None = None,
    with_private_keys: bool = False,
) -> MadeBackup:
    """Make a backup in a folder of backups and return it.

    Args:
        source: the service's database and storage.
        folder: of all backups; made if need be.
        tools: of PostgreSQL.
        keep: how many of the latest stay; all of them without it, and those of a later date anyway.
        with_private_keys: copy the keys of the pseudonyms, too.

    Raises:
        BackupError: another is being made, or the database cannot be dumped.
    """
    began = dt.datetime.now(dt.UTC)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _lock(folder):
        _forget_unfinished(folder)
        final = folder / began.strftime(NAME_FORMAT)
        if final.exists():
            raise BackupError(f"{final} is there already", folder=str(final))
        unfinished = folder / f".{final.name}.part"
        unfinished.mkdir(mode=0o700)
        dump = dump_database(source.database_url, unfinished, tools)
        copied = _copy_files(source, folder, unfinished, dump, with_private_keys=with_private_keys)
        manifest = _manifest(source, dump, copied, unfinished, began)
        write_manifest(unfinished, manifest)
        FilesystemStorage(folder).flush(unfinished)
        unfinished.rename(final)
        sync(folder)
        _note_success(folder, final.name, began)
        removed = _prune(folder, keep, final)
        later = [path.name for path in backups_in(folder) if path.name > final.name]
    return MadeBackup(
        folder=final,
        manifest=manifest,
        linked_count=copied.linked_count,
        removed=removed,
        of_later_date=later,
        is_known_to_service=_tell_service(source.data_dir, began),
    )


def _copy_files(
    source: BackupSource, folder: Path, unfinished: Path, dump: Dump, *, with_private_keys: bool
) -> CopiedFiles:
    earlier = next(reversed(backups_in(folder)), None)
    copied = CopiedFiles(
        target=unfinished / STORAGE,
        earlier=None if earlier is None else earlier / STORAGE,
        earlier_hashes={} if earlier is None else dict(read_hashes(earlier)),
    )
    copied.target.mkdir()
    for kind in KEPT_KINDS:
        for resource_id in sorted(dump.owners[kind] | dump.possible_owners[kind]):
            name = f"{kind}/{resource_id}"
            copied.copy_folder(source.data_dir / name, name)
    for name in (KEY_IDS, PRIVATE) if with_private_keys else (KEY_IDS,):
        if (source.data_dir / name).is_dir():
            for path in sorted((source.data_dir / name).iterdir()):
                key = f"{name}/{path.name}"
                copied.hashes[key] = copy_file(path, copied.target / key, mode=OWNER_ONLY)
    return copied


def _manifest(
    source: BackupSource, dump: Dump, copied: CopiedFiles, unfinished: Path, began: dt.datetime
) -> Manifest:
    gone, missing = _sort_absent(source, dump.owners, copied)
    lines = (f"{sha256}  {path}\n" for path, sha256 in sorted(copied.hashes.items()))
    (unfinished / FILES).write_text("".join(lines), encoding="utf-8")
    return Manifest(
        format=FORMAT,
        created_at=began.isoformat(),
        software_version=software_version(),
        schema_revision=dump.revision,
        database=dump.database,
        database_file=dump.file.name,
        database_sha256=sha256_of(dump.file),
        files_sha256=sha256_of(unfinished / FILES),
        file_count=len(copied.hashes),
        byte_count=copied.byte_count,
        has_private_keys=any(path.startswith(f"{PRIVATE}/") for path in copied.hashes),
        gone=gone,
        missing=missing,
    )


def _sort_absent(
    source: BackupSource, owners: Owners, copied: CopiedFiles
) -> tuple[list[str], list[str]]:
    """Tell what was removed since the snapshot from what the storage had lost before."""
    present = {tuple(path.split("/", 2)[:2]) for path in copied.hashes}
    absent = [
        (kind, resource_id)
        for kind, resource_ids in owners.items()
        for resource_id in sorted(resource_ids)
        if (kind.value, str(resource_id)) not in present
    ]
    if not absent:
        return [], []
    now = owners_now(source.database_url)
    gone = [f"{kind}/{key}" for kind, key in absent if key not in now[kind]]
    missing = [f"{kind}/{key}" for kind, key in absent if key in now[kind]]
    return gone, missing


def _note_success(folder: Path, name: str, began: dt.datetime) -> None:
    facts = {"name": name, "began_at": began.isoformat(), "timestamp": int(began.timestamp())}
    metric = f"# TYPE {METRIC} gauge\n{METRIC} {int(began.timestamp())}\n"
    write_whole(folder / LAST_JSON, json.dumps(facts) + "\n")
    write_whole(folder / LAST_METRIC, metric)


def _tell_service(data_dir: Path, began: dt.datetime) -> bool:
    try:
        StorageFacts(data_dir).note_backup(int(began.timestamp()))
    except OSError:  # made all the same; the command says that the service does not know
        return False
    return True


def _prune(folder: Path, keep: int | None, latest: Path) -> list[str]:
    if keep is None:
        return []
    # of those of a later date nobody knows which clock was wrong; they take no place of the others
    old = [path for path in backups_in(folder) if path.name <= latest.name][:-keep]
    for path in old:
        grave = path.with_name(f".{path.name}.part")  # nobody takes half of it for a backup
        path.rename(grave)
        shutil.rmtree(grave)
    return [path.name for path in old]


def _forget_unfinished(folder: Path) -> None:
    for path in folder.glob(".*.part"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, OWNER_ONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BackupError(f"another backup is being made in {folder}") from error
    try:
        yield
    finally:
        os.close(descriptor)
