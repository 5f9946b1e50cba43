"""Commands of `cervicontour-client model`."""

from itertools import islice
from pathlib import Path
from uuid import UUID

import click

from services.client.cli.options import EXISTING_FILE, OUT_FILE, Json, limited
from services.client.cli.progress import upload_bar, work_bar
from services.client.cli.session import Session, service_options
from services.client.client import CerviContourClient
from services.client.models import ModelAlias, ModelVersion
from services.client.waiting import check_succeeded

ALIASES = ("production", "shadow")
NONE = "none"
"""Stands for the packaged weights, or for no shadow."""


@click.group("model")
def group() -> None:
    """Promote runs to model versions, and choose which one contours.

    VERSION is the name of a model version or its id.

    \b
    Example:  cervicontour-client model alias production cervix-2026-11 --reason "better bladders"
    """


@group.command()
@click.argument("run", type=click.UUID)
@click.option("--name", help="What RTSTRUCTs will say; made of network and loss without one.")
@click.option("--min-dice", type=click.FloatRange(0, 1), help="Mean Dice on the test cases.")
@click.option("--cases", type=click.IntRange(min=1), help="Test cases it is compared on.")
@click.option("--margin", type=click.FloatRange(0, 1), help="By which production may be better.")
@click.option("--notes", help="For people.")
@click.option("--wait", is_flag=True, help="Wait until it is checked.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def promote(
    session: Session, run: UUID, *, name: str | None, wait: bool, **options: object
) -> None:
    """Make a model version of a run's weights; it is checked before it may serve.

    \b
    Example:  cervicontour-client model promote 7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10 \\
                  --name cervix-2026-11 --wait
    """
    with session.client() as client:
        version = client.models.promote(run, name=name, terms=_terms(options))
        if wait:
            version = _checked(client, version)
    session.show(version, _version_line(version))


@group.command("list")
@limited
@service_options
@click.make_pass_decorator(Session, ensure=True)
def list_(session: Session, *, limit: int) -> None:
    """List model versions, newest first, and what they are now.

    \b
    Example:  cervicontour-client model list
    """
    with session.client() as client:
        session.show_list(
            islice(client.models.list_all(), limit),
            ("version", "name", "state", "from", "is", "made", "error"),
            lambda version: (
                version.id,
                version.name,
                "retired" if version.retired_at else version.state,
                version.origin,
                ", ".join(version.aliases) or None,
                f"{version.created_at:%Y-%m-%d %H:%M}",
                version.error and version.error.code,
            ),
        )


@group.command("alias")
@click.argument("alias", type=click.Choice(ALIASES))
@click.argument("version")
@click.option("--reason", help="Kept in the history of the alias.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def set_alias(session: Session, alias: str, version: str, *, reason: str | None) -> None:
    """Have production or shadow mean a version; VERSION may be `none`.

    \b
    Example:  cervicontour-client model alias production cervix-2026-11 --reason "better bladders"
    """
    with session.client() as client:
        version_id = None if version == NONE else client.models.find_id(version)
        changed = client.models.set_alias(alias, version_id, reason=reason)
    session.show(changed, _alias_line(changed))


@group.command()
@service_options
@click.make_pass_decorator(Session, ensure=True)
def aliases(session: Session) -> None:
    """Show what production and shadow mean now.

    \b
    Example:  cervicontour-client model aliases
    """
    with session.client() as client:
        session.show_list(
            client.models.aliases(),
            ("alias", "version", "changes"),
            lambda alias: (alias.alias, alias.model_version_id or NONE, alias.revision),
        )


@group.command()
@click.argument("alias", type=click.Choice(ALIASES))
@click.option("--reason", help="Kept in the history of the alias.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def rollback(session: Session, alias: str, *, reason: str | None) -> None:
    """Have production or shadow mean what it meant before.

    \b
    Example:  cervicontour-client model rollback production --reason "bladders came out small"
    """
    with session.client() as client:
        changed = client.models.roll_back(alias, reason=reason)
    session.show(changed, _alias_line(changed))


@group.command()
@click.argument("version")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def retire(session: Session, version: str) -> None:
    """Have a model version take no alias any more.

    \b
    Example:  cervicontour-client model retire cervix-2026-03
    """
    with session.client() as client:
        retired = client.models.retire(client.models.find_id(version))
    session.show(retired, f"{retired.id}  {retired.name}: retired")


@group.command("export")
@click.argument("version")
@click.option("--out", type=OUT_FILE, required=True, help="The zip to write.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def export_(session: Session, version: str, out: Path) -> None:
    """Write a model version to a file that another service imports.

    \b
    Example:  cervicontour-client model export cervix-2026-11 --out cervix-2026-11.zip
    """
    with session.client() as client:
        version_id = client.models.find_id(version)
        client.models.export(version_id, out)
        session.show(client.models.get(version_id), str(out))


@group.command("import")
@click.argument("file", type=EXISTING_FILE)
@click.option("--name", help="Instead of the exported one.")
@click.option("--wait", is_flag=True, help="Wait until it is checked.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def import_(session: Session, file: Path, *, name: str | None, wait: bool) -> None:
    """Make a model version of an exported one; it is checked before it may serve.

    \b
    Example:  cervicontour-client model import cervix-2026-11.zip --wait
    """
    with session.client() as client:
        with upload_bar() as on_bytes:
            version = client.models.import_file(file, name=name, on_bytes=on_bytes)
        if wait:
            version = _checked(client, version)
    session.show(version, _version_line(version))


def _checked(client: CerviContourClient, version: ModelVersion) -> ModelVersion:
    with work_bar() as on_progress:
        version = client.models.wait_for(version.id, on_progress)
    check_succeeded(version)
    return version


def _terms(options: dict[str, object]) -> Json:
    terms: Json = {
        "evaluation_cases": options["cases"],
        "margin": options["margin"],
        "notes": options["notes"],
        "minimum": None if options["min_dice"] is None else {"mean_dice": options["min_dice"]},
    }
    return {name: value for name, value in terms.items() if value is not None}


def _version_line(version: ModelVersion) -> str:
    return f"{version.id}  {version.name}: {version.state}"


def _alias_line(alias: ModelAlias) -> str:
    return f"{alias.alias} is {alias.model_version_id or NONE}"
