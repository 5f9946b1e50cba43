"""`cervicontour-admin key ...`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import click

from services.admin.transactions import transactions
from services.api.api_keys.service import ApiKeyService, DrawnKey
from services.core.actor import Role
from services.core.names import checked_name
from services.core.repositories.paging import PageCursor
from services.core.settings import load_settings
from services.core.tables.access import ApiKey

PAGE_SIZE = 200
OWNER_ONLY = 0o600

_name = click.option("--name", required=True, help="Where the key is used, for people.")
_role = click.option(
    "--role", required=True, type=click.Choice([role.value for role in Role]), help="What it may."
)
_days = click.option(
    "--days", type=click.IntRange(min=1), help="How long it is valid; else as the settings say."
)
_never_expires = click.option("--never-expires", is_flag=True, help="It is valid until revoked.")
_file = click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the key to a new file that only you can read, instead of to the terminal.",
)
_key_id = click.argument("key_id", type=click.UUID)


@click.group("key")
def group() -> None:
    """Make, list and revoke API keys."""


@group.command("create")
@_name
@_role
@_days
@_never_expires
@_file
def create(
    *, name: str, role: str, days: int | None, never_expires: bool, path: Path | None
) -> None:
    """Make a key for a new client and show it, this once.

    \b
    Example:  cervicontour-admin key create --name operators --role admin --file admin-key
    """
    with _service() as service, _target(path) as target:
        target.show(service.create(_checked(name), Role(role), _lifetime(days, never_expires)))


@group.command("renew")
@_key_id
@_days
@_never_expires
@_file
def renew(*, key_id: UUID, days: int | None, never_expires: bool, path: Path | None) -> None:
    """Make another key for the client of KEY_ID, which stays as it is.

    What the client submitted stays its own. Revoke the old key once the new one is in place.
    """
    with _service() as service, _target(path) as target:
        target.show(service.renew(key_id, _lifetime(days, never_expires)))


@group.command("list")
def list_keys() -> None:
    """List every key, newest first; the keys themselves are not known any more."""
    with _service() as service:
        after: PageCursor | None = None
        while rows := service.page(PAGE_SIZE, after):
            for row in rows:
                click.echo(_line(row))
            after = PageCursor(created_at=rows[-1].created_at, id=rows[-1].id)


@group.command("revoke")
@_key_id
def revoke(*, key_id: UUID) -> None:
    """End a key with the next request; revoking again changes nothing."""
    with _service() as service:
        click.echo(_line(service.revoke(key_id)))


@group.command("import")
@_name
@_role
@click.option(
    "--file",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="With one line: cck_ and 32 random bytes in base64url.",
)
def bring_in(*, name: str, role: str, path: Path) -> None:
    """Let in who shows the key of a file, until it is revoked; again changes nothing.

    For deployments that draw their secrets themselves, such as that of a monitoring system.
    """
    with _service() as service:
        row = service.bring_in(_checked(name), Role(role), path.read_text().strip())
        click.echo(_line(row))


class _Target:
    """Where a new key goes."""

    def __init__(self, path: Path | None, descriptor: int | None) -> None:
        self._path = path
        self._descriptor = descriptor

    def show(self, drawn: DrawnKey) -> None:
        click.echo(_line(drawn.row), err=True)
        if self._descriptor is None:
            click.echo("Keep the key: it cannot be shown again.", err=True)
            click.echo(drawn.key)
        else:
            os.write(self._descriptor, f"{drawn.key}\n".encode())
            click.echo(f"The key is in {self._path}.", err=True)


@contextmanager
def _target(path: Path | None) -> Iterator[_Target]:
    """Open the file before there is a key: one that cannot be shown would be lost."""
    if path is None:
        yield _Target(None, None)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        yield _Target(path, descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _service() -> Iterator[ApiKeyService]:
    with transactions(load_settings()) as new_unit_of_work:
        yield ApiKeyService(new_unit_of_work)


def _lifetime(days: int | None, never_expires: bool) -> int | None:  # noqa: FBT001  # the option's
    if never_expires:
        if days is not None:
            raise click.UsageError("--days and --never-expires exclude each other")
        return None
    return days or load_settings().api_key_days


def _checked(name: str) -> str:
    try:
        return checked_name(name)
    except ValueError as error:
        raise click.UsageError(f"--name: {error}") from error


def _line(row: ApiKey) -> str:
    state = "valid for ever" if row.expires_at is None else f"expires {row.expires_at:%Y-%m-%d}"
    if row.revoked_at is not None:
        state = f"revoked {row.revoked_at:%Y-%m-%d}"
    used = "never used" if row.last_used_at is None else f"used {row.last_used_at:%Y-%m-%d %H:%M}"
    return f"{row.id}  {row.role.value:9}  {state:18}  {used:21}  {row.name}"
