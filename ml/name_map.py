"""Which names of other systems mean which structure.

A mapping file in TOML decides before the synonyms of ml.structures do:

    ignore = ["PTV", "/.*_opt/"]              # regions that are no candidates
    patient_pattern = "^([^/]+)/"             # the patient's name in a case's path

    [structures]
    "Bladder" = ["Blase", "/bladder.*/"]      # in order of preference; /.../ is a pattern

    [labels]
    "Bladder" = [3, 7]                        # values of NIfTI label maps

Patterns are those of RE2 (https://github.com/google/re2/wiki/Syntax): without references back and
looks ahead, but no pattern takes more than a time in proportion to the name it is compared with.
"""

import tomllib
import typing
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import re2

from ml.structures import CERVIX, Structure, StructureSet, UnknownStructureError, normalized_name

MAX_NAME_LENGTH = 200
"""Characters of a name or pattern; the names of regions have 64 at most."""
MAX_NAMES = 200
"""Names or values in one list."""
MAX_PATTERN_BYTES = 1 << 20
"""Memory of a compiled pattern."""
MAX_LABEL_VALUE = 255
"""Largest value that is read from a label map."""


Pattern = re2._Regexp  # the module names its class nowhere else
Item = TypeVar("Item")
_KEYS = frozenset({"ignore", "patient_pattern", "structures", "labels"})
_KINDS = {str: "text", int: "whole numbers"}
_SHOWN_LENGTH = 60
"""Characters of foreign text that a sentence repeats."""


class MappingError(Exception):
    """A mapping cannot be used."""


class AmbiguousNamesError(Exception):
    """Several candidates mean one structure equally well.

    Attributes:
        structure: its name.
        names: those of the candidates.
    """

    def __init__(self, structure: str, names: Sequence[str]) -> None:
        super().__init__(f"{' and '.join(repr(name) for name in names)} both mean {structure}")
        self.structure = structure
        self.names = tuple(names)


@dataclass(frozen=True, kw_only=True, slots=True)
class NameMap:
    """Finds structures by the names of other systems."""

    structures: StructureSet = CERVIX
    ignored: tuple[str, ...] = ()
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names and /patterns/ by structure, in order of preference; they replace its synonyms."""
    label_values: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Values of label maps by structure."""
    patient_pattern: str | None = None
    """Its first group, searched in a case's path, is the patient; a case's own id otherwise."""

    def choose(
        self, candidates: Sequence[tuple[str, Item]]
    ) -> tuple[dict[Structure, tuple[str, Item]], list[str]]:
        """Find the candidate of every structure, and the names that mean none.

        Raises:
            AmbiguousNamesError: two candidates are equally good.
        """
        open_ones = [c for c in candidates if not any(_fits(c[0], i) for i in self.ignored)]
        chosen: dict[Structure, tuple[str, Item]] = {}
        used: set[str] = set()
        for structure in self.structures.structures:
            for rank in self._ranks(structure):
                found = [c for c in open_ones if any(_fits(c[0], name) for name in rank)]
                used.update(name for name, _ in found)
                if found and structure not in chosen:
                    chosen[structure] = _only(structure, found)
        unmatched = [name for name, _ in open_ones if name not in used]
        return chosen, unmatched

    def find_patient(self, path: str) -> str | None:
        """Return the patient a case's path names; None where the pattern says nothing."""
        if self.patient_pattern is None:
            return None
        pattern = _compiled(self.patient_pattern, self.patient_pattern, is_case_sensitive=True)
        match = pattern.search(_encodable(path))
        found = match.group(1) if match else None
        return found if isinstance(found, str) else None

    def to_dict(self) -> dict[str, Any]:  # Any: json
        """Return plain json types, which parse_mapping reads back for the same structure set."""
        return {
            "ignore": list(self.ignored),
            "patient_pattern": self.patient_pattern,
            "structures": {name: list(names) for name, names in self.names.items()},
            "labels": {name: list(values) for name, values in self.label_values.items()},
        }

    def _ranks(self, structure: Structure) -> list[tuple[str, ...]]:
        """Names by preference: each of the mapping alone, or all synonyms at once."""
        if structure.name in self.names:
            return [(name,) for name in self.names[structure.name]]
        return [(structure.name, *structure.synonyms)]


def read_mapping(path: Path, structures: StructureSet = CERVIX) -> NameMap:
    """Read a mapping file.

    Raises:
        MappingError: it cannot be read, or parse_mapping refuses it.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise MappingError(f"{path.name} cannot be read: {error}") from error
    try:
        return parse_mapping(values, structures)
    except MappingError as error:
        raise MappingError(f"{path.name}: {error}") from error


def parse_mapping(values: object, structures: StructureSet = CERVIX) -> NameMap:
    """Read the settings of a mapping, a table as json or TOML has it, from whomever it comes.

    Whatever the values are, nothing but a MappingError is raised.

    Raises:
        MappingError: a setting or structure that does not exist, a value of the wrong type or
            beyond the limits, or a pattern that is none.
    """
    table = _table(values, "a mapping")
    unknown = [_shown(key) for key in table if key not in _KEYS]
    if unknown:
        raise MappingError(f"there are settings that do not exist: {', '.join(unknown[:5])}")
    names = _by_structure(table, "structures", str, structures)
    ignored = _list(table.get("ignore", []), "ignore", str)
    for name in [*ignored, *(name for some in names.values() for name in some)]:
        _check_name(name)
    return NameMap(
        structures=structures,
        ignored=ignored,
        names=names,
        label_values=_label_values(table, structures),
        patient_pattern=_patient_pattern(table.get("patient_pattern")),
    )


def _fits(name: str, wanted: str) -> bool:
    if _is_pattern(wanted):
        return _compiled(wanted[1:-1], wanted).fullmatch(_encodable(name)) is not None
    return normalized_name(name) == normalized_name(wanted)


def _is_pattern(wanted: str) -> bool:
    return len(wanted) > 2 and wanted.startswith("/") and wanted.endswith("/")


def _only(structure: Structure, found: Sequence[tuple[str, Item]]) -> tuple[str, Item]:
    if len(found) == 1:
        return found[0]
    raise AmbiguousNamesError(structure.name, [name for name, _ in found])


def _table(value: object, key: str) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise MappingError(f"{key} must be a table")
    table = typing.cast("Mapping[object, object]", value)
    if not all(isinstance(name, str) for name in table):
        raise MappingError(f"{key}: what stands before a value must be text")
    return dict(typing.cast("Mapping[str, object]", table))


def _by_structure(
    values: Mapping[str, object],
    key: str,
    kind: type[Item],
    structures: StructureSet,
) -> dict[str, tuple[Item, ...]]:
    """Read a table of lists; in the order of the structures, so that equal tables look equal."""
    found: dict[str, tuple[Item, ...]] = {}
    for name, value in _table(values.get(key, {}), key).items():
        try:
            own_name = structures.get(name).name
        except UnknownStructureError as error:
            message = f"{key}: no structure of this set is called {_shown(name)}"
            raise MappingError(message) from error
        if own_name in found:
            raise MappingError(f"{key}: {own_name} stands there twice")
        found[own_name] = _list(value, own_name, kind)
    return {name: found[name] for name in structures.names if name in found}


def _list(value: object, key: str, kind: type[Item]) -> tuple[Item, ...]:
    items = typing.cast("list[Item]", value if isinstance(value, list | tuple) else [value])
    if len(items) > MAX_NAMES:
        raise MappingError(f"{key}: {len(items)} values are more than {MAX_NAMES}")
    if not all(isinstance(item, kind) and not isinstance(item, bool) for item in items):
        raise MappingError(f"{key}: all values must be {_KINDS[kind]}")
    return tuple(items)


def _label_values(
    values: Mapping[str, object],
    structures: StructureSet,
) -> dict[str, tuple[int, ...]]:
    table = _by_structure(values, "labels", int, structures)
    numbers = [number for some in table.values() for number in some]
    is_in_range = all(1 <= number <= MAX_LABEL_VALUE for number in numbers)
    if not is_in_range or len(set(numbers)) < len(numbers):
        raise MappingError(
            f"labels: values must lie in 1 to {MAX_LABEL_VALUE}, each for one structure"
        )
    return table


def _patient_pattern(pattern: object) -> str | None:
    if pattern is None:
        return None
    if not isinstance(pattern, str):
        raise MappingError("patient_pattern must be text")
    _check_text(pattern)
    if _compiled(pattern, pattern).groups != 1:
        raise MappingError("patient_pattern must have one group: the patient")
    return pattern


def _check_name(name: str) -> None:
    _check_text(name)
    if _is_pattern(name):
        _compiled(name[1:-1], name)
    elif not normalized_name(name):
        raise MappingError(f"{_shown(name)} has no letter or digit to be compared")


def _check_text(text: str) -> None:
    if len(text) > MAX_NAME_LENGTH:
        raise MappingError(f"{_shown(text)} has more than {MAX_NAME_LENGTH} characters")
    # control characters and halves of surrogate pairs: databases and files cannot keep all of them
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise MappingError(f"{_shown(text)} holds a character that cannot be printed")


@lru_cache(maxsize=MAX_NAMES)
def _compiled(pattern: str, name: str, *, is_case_sensitive: bool = False) -> Pattern:
    options = re2.Options()
    options.case_sensitive = is_case_sensitive
    options.log_errors = False  # to standard error, by itself
    options.max_mem = MAX_PATTERN_BYTES
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        (reason,) = error.args
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise MappingError(f"{_shown(name)} is no pattern: {_shown(text)}") from error


def _encodable(text: str) -> str:
    """Return text without halves of surrogate pairs, which names of files may hold."""
    return text.encode("utf-8", "replace").decode()


def _shown(text: str) -> str:
    """Return text as a sentence repeats it."""
    is_long = len(text) > _SHOWN_LENGTH
    return f"{text[:_SHOWN_LENGTH]!r}{'...' if is_long else ''}"
