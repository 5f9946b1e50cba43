"""Brings a backup into a service that has nothing yet: files first, then the rows that name them.

A job that was queued or under way when the backup was made is taken up by the first worker that
starts: its row says so, and its lease is over.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from services.admin.backup.creating import BackupSource
from services.admin.backup.databases import PostgresTools, check_is_empty, load_database
from services.admin.backup.files import OWNER_ONLY, copy_file
from services.admin.backup.layout import (
    KEY_IDS,
    PRIVATE,
    STORAGE,
    BackupError,
    Manifest,
    NotMigratedError,
    TargetNotEmptyError,
    read_hashes,
)
from services.admin.backup.verifying import verify_backup
from services.core.database import create_database_engine
from services.core.disk import sync
from services.core.migrations import (
    ForeignKeysBrokenError,
    known_revisions,
    schema_revision,
    upgrade_database,
)
from services.core.repositories.stored_files import KEPT_KINDS
from services.core.storage import FilesystemStorage


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """What a restore made."""

    manifest: Manifest
    revision: str
    """Of the schema afterwards."""
    lacks_private_keys: bool
    """Neither the backup nor the storage has the keys of the pseudonyms."""


def restore_backup(folder: Path, target: BackupSource, tools: PostgresTools) -> Restored:
    """Bring a backup into an empty database and an empty storage, then migrate if it is older.

    Raises:
        BackupError: the backup is damaged or of another database or a later release, or the
            target is not empty; nothing was changed then.
        NotMigratedError: everything is restored, as the older release had it.
    """
    verification = verify_backup(folder)
    if verification.faults:
        raise BackupError(
            f"the backup is damaged: {verification.faults[0]}", faults=len(verification.faults)
        )
    manifest = verification.manifest
    _check_fits(manifest, target)
    _check_is_empty(manifest, target)
    try:
        _copy_files(folder, target.data_dir)
        load_database(target.database_url, folder / manifest.database_file, tools)
    except BaseException:
        # Half a restore would be refused as not empty, and must not be taken for a whole one.
        _remove_files(manifest, target.data_dir)
        raise
    return Restored(
        manifest=manifest,
        revision=_migrate(manifest, target),
        lacks_private_keys=not (target.data_dir / PRIVATE).is_dir(),
    )


def _migrate(manifest: Manifest, target: BackupSource) -> str:
    """Bring the tables to those of this release and return their revision."""
    engine = create_database_engine(target.database_url)
    try:
        upgrade_database(engine)
        with engine.connect() as connection:
            return schema_revision(connection) or ""
    except (SQLAlchemyError, CommandError, ForeignKeysBrokenError) as error:
        raise NotMigratedError(manifest.schema_revision, type(error).__name__) from error
    finally:
        engine.dispose()


def _check_fits(manifest: Manifest, target: BackupSource) -> None:
    database = sa.make_url(target.database_url).get_backend_name()
    if database != manifest.database:
        raise BackupError(
            f"the backup is of {manifest.database}, the settings name {database}",
            backup=manifest.database,
            settings=database,
        )
    if manifest.schema_revision not in known_revisions():
        raise BackupError(
            f"the backup was made by a later release ({manifest.software_version})",
            revision=manifest.schema_revision,
        )


def _check_is_empty(manifest: Manifest, target: BackupSource) -> None:
    check_is_empty(target.database_url)
    for name in _folders(manifest):
        folder = target.data_dir / name
        if folder.is_dir() and any(folder.iterdir()):
            raise TargetNotEmptyError(f"the storage is not empty: {folder}", folder=str(folder))


def _copy_files(folder: Path, data_dir: Path) -> None:
    for path, sha256 in read_hashes(folder):
        mode = OWNER_ONLY if path.startswith((f"{KEY_IDS}/", f"{PRIVATE}/")) else None
        found = copy_file(folder / STORAGE / path, data_dir / path, mode=mode)
        if found != sha256:
            raise BackupError(f"{path} changed while it was restored", path=path)
    for name in (*KEPT_KINDS, KEY_IDS, PRIVATE):
        if (data_dir / name).is_dir():
            FilesystemStorage(data_dir).flush(data_dir / name)
            sync(data_dir)


def _remove_files(manifest: Manifest, data_dir: Path) -> None:
    for name in _folders(manifest):
        shutil.rmtree(data_dir / name, ignore_errors=True)


def _folders(manifest: Manifest) -> list[str]:
    """Return the folders of the storage that a restore of the backup writes into."""
    return [*KEPT_KINDS, KEY_IDS, *([PRIVATE] if manifest.has_private_keys else [])]
