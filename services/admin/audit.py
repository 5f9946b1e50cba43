"""`cervicontour-admin audit ...`: whether the audit trail is whole."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from sqlalchemy.orm import Session, sessionmaker

from services.core.actor import SYSTEM
from services.core.audit_chain import ChainHead, Verdict, read_export, verify_chain
from services.core.database import create_database_engine, create_sessions, utc_now
from services.core.repositories.audit import AuditRepository, stream_slices
from services.core.settings import load_settings
from services.core.tables.leased import Json


class _HeadType(click.ParamType):
    name = "sequence:sha256"

    def convert(
        self, value: str | ChainHead, param: click.Parameter | None, ctx: click.Context | None
    ) -> ChainHead:
        if isinstance(value, ChainHead):
            return value
        try:
            return ChainHead.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group("audit")
def group() -> None:
    """Verify the audit trail, and show its end so that it can be written down elsewhere."""


@group.command("verify")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="An export; the database of the settings without it.",
)
@click.option(
    "--expect-head",
    "expected",
    type=_HeadType(),
    help="A head that was written down: proves that nothing up to it was changed since.",
)
def verify(*, path: Path | None, expected: ChainHead | None) -> None:
    """Tell whether no entry was changed, removed or put elsewhere; exit code 1 if one was.

    So it is for a file without entries, which no export is.

    \b
    Example:  cervicontour-admin audit verify --file audit-entries.jsonl --expect-head 4711:1d2e...
    """
    written_down = () if expected is None else (expected,)
    verdict = _verify_database(written_down) if path is None else _verify_file(path, written_down)
    if not verdict.is_whole:
        where = "" if verdict.sequence is None else f" at entry {verdict.sequence}"
        click.echo(
            f"{verdict.fault}{where}: {verdict.detail}; whole up to {verdict.head}", err=True
        )
        sys.exit(1)
    first = verdict.first_sequence
    if first is None:
        click.echo("there are no entries", err=path is not None)
        sys.exit(0 if path is None else 1)  # an export has at least the entry about itself
    begins = "" if first == 1 else f" from {first} on"
    count = verdict.head.sequence - first + 1
    click.echo(f"whole: {count} entries{begins}, head {verdict.head}")


@group.command("head")
def show_head() -> None:
    """Show the number and the hash of the last entry."""
    with _sessions() as sessions, sessions() as session:
        click.echo(str(_trail(session).head()))


def _verify_file(path: Path, expected: tuple[ChainHead, ...]) -> Verdict:
    with path.open("rb") as lines:
        return verify_chain(read_export(lines), expected=expected)


def _verify_database(expected: tuple[ChainHead, ...]) -> Verdict:
    """Verify the entries up to the head that the database knows now."""
    with _sessions() as sessions:
        with sessions() as session:
            head = _trail(session).head()

        def read(first: int, last: int) -> list[Json]:
            with sessions() as session:
                return _trail(session).slice(first, last)

        entries = stream_slices(read, 1, head.sequence)
        return verify_chain(entries, expected=(*expected, head))


def _trail(session: Session) -> AuditRepository:
    return AuditRepository(session, utc_now, SYSTEM)


@contextmanager
def _sessions() -> Iterator[sessionmaker[Session]]:
    engine = create_database_engine(load_settings().database_url.get_secret_value())
    try:
        yield create_sessions(engine)
    finally:
        engine.dispose()
