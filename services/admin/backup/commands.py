"""`cervicontour-admin backup ...`."""

import sys
from pathlib import Path

import click

from services.admin.backup.creating import BackupSource, MadeBackup, create_backup
from services.admin.backup.databases import PostgresTools
from services.admin.backup.layout import NotMigratedError
from services.admin.backup.restoring import restore_backup
from services.admin.backup.verifying import verify_backup
from services.core.settings import load_settings

EXIT_MISSING = 3
"""A backup was made, but the storage had lost files that the database names."""
EXIT_DAMAGED = 4
"""A backup is not what it was."""
EXIT_NOT_MIGRATED = 5
"""A backup was restored, but its tables are still those of the older release."""

_folder = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
_tools = click.option(
    "--postgres-bin",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder with pg_dump and pg_restore; else those on PATH.",
)


@click.group("backup")
def group() -> None:
    """Back up database and storage, check a backup, restore one.

    \b
    Exit codes: 0 done, 1 failed and nothing changed, 2 wrong usage, 3 backed up but the storage
    lacks files that the database names, 4 the backup is damaged, 5 restored but not migrated.
    """


@group.command("create")
@_folder
@click.option(
    "--keep", type=click.IntRange(min=1), help="Remove all but so many of the latest backups."
)
@click.option(
    "--with-private-keys",
    is_flag=True,
    help="Copy the keys of the pseudonyms, too: whoever has such a backup can find patients again.",
)
@_tools
def create(
    *, folder: Path, keep: int | None, with_private_keys: bool, postgres_bin: Path | None
) -> None:
    """Make a backup in FOLDER while the service runs.

    Files that did not change since the last one are links to it, so a daily backup takes the room
    of a day. FOLDER/last-backup.prom tells a monitoring system when the last one succeeded.

    \b
    Example:  cervicontour-admin backup create /backup/cervicontour --keep 14
    """
    made = create_backup(
        _source(),
        folder,
        PostgresTools(postgres_bin),
        keep=keep,
        with_private_keys=with_private_keys,
    )
    _report(made)
    if made.manifest.missing:
        sys.exit(EXIT_MISSING)


@group.command("verify")
@_folder
def verify(*, folder: Path) -> None:
    """Read the one backup FOLDER again, every byte of it."""
    verification = verify_backup(folder)
    for fault in verification.faults:
        click.echo(fault, err=True)
    if verification.faults:
        sys.exit(EXIT_DAMAGED)
    click.echo(f"{folder} is whole: {verification.manifest.file_count} files and the database")


@group.command("restore")
@_folder
@_tools
def restore(*, folder: Path, postgres_bin: Path | None) -> None:
    """Bring the one backup FOLDER into the empty database and storage of the settings.

    Stop API and workers before, start them afterwards: they take up what was queued or under way.

    \b
    Example:  cervicontour-admin backup restore /backup/cervicontour/20260131T235900Z
    """
    try:
        restored = restore_backup(folder, _source(), PostgresTools(postgres_bin))
    except NotMigratedError as error:
        click.echo(f"{error.code}: {error.message}", err=True)
        sys.exit(EXIT_NOT_MIGRATED)
    click.echo(
        f"Restored {restored.manifest.file_count} files and the database as of "
        f"{restored.manifest.created_at}; its schema is now {restored.revision}."
    )
    if restored.lacks_private_keys:
        click.echo(
            "There are no private keys: bring the folder private/ of the storage back from where "
            "it is kept; until then series are not de-identified and dataset versions not made "
            "(private_key_missing).",
            err=True,
        )


def _source() -> BackupSource:
    settings = load_settings()
    return BackupSource(
        database_url=settings.database_url.get_secret_value(), data_dir=settings.data_dir
    )


def _report(made: MadeBackup) -> None:
    manifest = made.manifest
    click.echo(
        f"{made.folder}: {manifest.file_count} files, {manifest.byte_count} bytes, "
        f"{made.linked_count} of the files as in the backup before"
    )
    for name in manifest.gone:
        click.echo(f"removed from the service meanwhile: {name}")
    for name in made.removed:
        click.echo(f"older backup removed: {name}")
    for name in made.of_later_date:
        click.echo(
            f"{name} is of a later date: a clock is wrong, or was; it is left for you to judge",
            err=True,
        )
    if not made.is_known_to_service:
        click.echo("The storage cannot be written: /metrics does not show this backup.", err=True)
    for name in manifest.missing:
        click.echo(f"missing in the storage: {name}", err=True)
