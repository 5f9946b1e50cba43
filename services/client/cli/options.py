"""Kinds of values that options take."""

import csv
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

Json = dict[str, Any]  # Any: nested json values
Command = TypeVar("Command", bound=Callable[..., Any])  # Any: of any signature

EXISTING = click.Path(exists=True, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OUT_FILE = click.Path(dir_okay=False, path_type=Path)
OUT_FOLDER = click.Path(file_okay=False, path_type=Path)

SHOWN_ITEMS = 50


class Value(click.ParamType):
    """A kind of value whose name stands in help texts as it is."""

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002  # click's interface
        """Return its name."""
        return self.name


class Names(Value):
    """Names between commas."""

    name = "A,B"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Read the names."""
        names = value if isinstance(value, list) else [n.strip() for n in str(value).split(",")]
        if not all(names):
            self.fail(f"{value!r} is no list of names as in ce,dice", param, ctx)
        return names


class Numbers(Value):
    """Whole numbers between commas."""

    name = "0,1,2"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        """Read the numbers."""
        if isinstance(value, list):
            return value
        try:
            return [int(part) for part in str(value).split(",")]
        except ValueError:
            self.fail(f"{value!r} is no list of whole numbers as in 0,1,2", param, ctx)


class Proportions(Value):
    """Three whole numbers as in 111:30:15."""

    name = "A:B:C"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        """Read the three numbers."""
        if isinstance(value, list):
            return value
        parts = str(value).split(":")
        if len(parts) != 3 or not all(part.isdecimal() for part in parts):
            self.fail(f"{value!r} is not like 111:30:15", param, ctx)
        return [int(part) for part in parts]


class Setting(Value):
    """A setting and its value as in training.batch_size=8; the value is json, or text."""

    name = "SETTING=VALUE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, object]:
        """Read setting and value."""
        if isinstance(value, tuple):
            return value
        setting, is_there, text = str(value).partition("=")
        if not is_there or not setting:
            self.fail(f"{value!r} is not like training.batch_size=8", param, ctx)
        return setting, _json_or_text(text)


class Axis(Value):
    """A setting and values between commas, as in training.batch_size=4,8."""

    name = "SETTING=A,B"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, list[object]]:
        """Read setting and values."""
        if isinstance(value, tuple):
            return value
        setting, is_there, text = str(value).partition("=")
        if not is_there or not setting or not text:
            self.fail(f"{value!r} is not like training.batch_size=4,8", param, ctx)
        found = _json_or_text(text if text.startswith("[") else f"[{text}]")
        values = found if isinstance(found, list) else [_json_or_text(t) for t in text.split(",")]
        return setting, values


class MappingFile(Value):
    """A TOML file that says what the names of regions mean."""

    name = "FILE.toml"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Json:
        """Read the file."""
        if isinstance(value, dict):
            return value
        try:
            mapping = tomllib.loads(Path(str(value)).read_text(encoding="utf-8"))
            json.dumps(mapping, allow_nan=False)
        except (OSError, ValueError, TypeError) as error:  # dates are TypeErrors: no json has them
            self.fail(f"{value} cannot be read: {error}", param, ctx)
        return mapping


class GradesFile(Value):
    """Grades in a CSV file or as json: a list, or an object with `grades`."""

    name = "FILE.csv|FILE.json"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[Json]:
        """Read the grades."""
        if isinstance(value, list):
            return value
        path = Path(str(value))
        try:
            text = path.read_text(encoding="utf-8-sig")
            grades = _table_grades(text) if path.suffix.lower() == ".csv" else _json_grades(text)
        except (OSError, ValueError) as error:
            self.fail(f"{value} cannot be read: {error}", param, ctx)
        if not grades:
            self.fail(f"{value} holds no grade", param, ctx)
        return grades


def limited(command: Command) -> Command:
    """Give a command that lists the option how many items it lists."""
    return click.option(
        "--limit",
        type=click.IntRange(min=1),
        default=SHOWN_ITEMS,
        show_default=True,
        help="Items at most, the newest first.",
    )(command)


def _json_or_text(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return text


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no json")


def _json_grades(text: str) -> list[Json]:
    found = json.loads(text, parse_constant=_refuse_constant)
    grades = found.get("grades") if isinstance(found, dict) else found
    if not isinstance(grades, list):
        raise ValueError("there is no list of grades")  # noqa: TRY004  # as of json
    return grades


def _table_grades(text: str) -> list[Json]:
    rows = csv.DictReader(text.splitlines())
    known = {"structure", "slice_number", "first_slice", "last_slice", "grade", "tags"}
    unknown = sorted(set(rows.fieldnames or ()) - known)
    if unknown:
        raise ValueError(f"the columns are {', '.join(sorted(known))}, not {', '.join(unknown)}")
    return [_row_grade(row) for row in rows]


def _row_grade(row: dict[str, str]) -> Json:
    grade: Json = {"structure": row.get("structure"), "grade": row.get("grade")}
    for name in ("slice_number", "first_slice", "last_slice"):
        if row.get(name):
            grade[name] = int(row[name])
    if row.get("tags"):
        grade["tags"] = row["tags"].replace(";", " ").split()
    return grade
