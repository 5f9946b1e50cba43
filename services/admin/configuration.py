"""The reference of all settings, written from their definition."""

import types
import typing
from enum import StrEnum
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from services.core.settings import DEFAULT_SECRETS_DIR, SECRETS_DIR_VARIABLE, Settings

HEAD = f"""\
# Configuration

Written from `services/core/settings.py` by `cervicontour-admin configuration`; a test keeps it
current. Every setting is a variable of the environment, or a file of the variable's name (in small
letters) in the folder that `{SECRETS_DIR_VARIABLE}` names, `{DEFAULT_SECRETS_DIR}` where that is
there. A variable wins over a file. A value that does not fit keeps a process from starting.

Settings marked *secret* are never logged and never shown. Give them as files that only the
service's user can read: a file that everybody on the machine can read or change is warned about
at the start. API and workers need the same values.

"""


@click.command("configuration")
def command() -> None:
    """Print the reference of all settings as markdown."""
    click.echo(reference(), nl=False)


def reference() -> str:
    """Return the reference as markdown."""
    return HEAD + "\n".join(_entry(name, field) for name, field in Settings.model_fields.items())


def _entry(name: str, field: FieldInfo) -> str:
    prefix = Settings.model_config.get("env_prefix", "")
    meaning = " ".join((field.description or "").split())
    facts = f"{_type_name(field)}; default: {_default(name, field)}"
    secret = f"; *secret*, file `{(prefix + name).lower()}`" if is_secret(field) else ""
    return f"## `{prefix}{name.upper()}`\n\n{facts}{secret}\n\n{meaning}\n"


def is_secret(field: FieldInfo) -> bool:
    """Tell whether a setting must not be shown."""
    return SecretStr in (field.annotation, *typing.get_args(field.annotation))


def _default(name: str, field: FieldInfo) -> str:
    if name == "database_url":  # of another setting
        return "`sqlite+pysqlite:///<DATA_DIR>/cervicontour.sqlite`"
    value = field.get_default()
    if value is PydanticUndefined:
        value = field.default_factory() if field.default_factory else None  # pyright: ignore[reportCallIssue]  # of no other setting
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None:
        return "none"
    if value in ({}, ()):
        return "empty"
    return f"`{value}`"


def _type_name(field: FieldInfo) -> str:
    kinds = [kind for kind in _members(field.annotation) if kind is not type(None)]
    names = " or ".join(_plain_name(kind) for kind in kinds)
    bounds = {type(bound).__name__: bound for bound in field.metadata}
    if "Gt" in bounds:
        return f"{names} above {bounds['Gt'].gt}"
    if "Ge" in bounds:
        return f"{names} from {bounds['Ge'].ge}"
    return names


def _members(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401  # Any: what a type may be written as
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(member for part in typing.get_args(annotation) for member in _members(part))
    if typing.get_origin(annotation) is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    return (annotation,)


_NAMES: dict[Any, str] = {  # Any: types
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
    SecretStr: "text",
}


def _plain_name(kind: Any) -> str:  # noqa: ANN401  # Any: a type
    if typing.get_origin(kind) is dict:
        return "json object"
    if typing.get_origin(kind) is tuple:
        return "json list"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return " or ".join(f"`{member.value}`" for member in kind)
    return _NAMES[kind]
