"""Kinds of option values that several commands take."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import click

EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
ANY_PATH = click.Path(path_type=Path)


class Values(click.Choice):
    """The values of an enumeration, as they are written in configurations."""

    def normalize_choice(self, choice: Any, ctx: click.Context | None) -> str:  # noqa: ANN401  # Any: click's interface
        """Spell a member by its value; click would take its name."""
        spelled = choice.value if isinstance(choice, StrEnum) else choice
        return super().normalize_choice(spelled, ctx)


class Proportions(click.ParamType):
    """Three whole numbers as in 111:30:15."""

    name = "A:B:C"

    def convert(
        self,
        value: str | tuple[int, int, int],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, int, int]:
        """Read the three numbers."""
        if isinstance(value, tuple):
            return value
        parts = value.split(":")
        if len(parts) != 3 or not all(part.isdecimal() for part in parts) or not int(parts[0]):
            self.fail(f"{value!r} is not like 111:30:15", param, ctx)
        return int(parts[0]), int(parts[1]), int(parts[2])
