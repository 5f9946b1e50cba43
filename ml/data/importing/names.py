"""Which names of other systems mean which structure.

A mapping file in TOML decides before the synonyms of ml.structures do:

    ignore = ["PTV", "/.*_opt/"]              # regions that are no candidates
    patient_pattern = "^([^/]+)/"             # the patient's name in a case's path

    [structures]
    "Bladder" = ["Blase", "/bladder.*/"]      # in order of preference; /.../ is a pattern

    [labels]
    "Bladder" = [3, 7]                        # values of NIfTI label maps
"""

import re
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ml.data.importing.refusals import CaseRefusedError, ImportRefusal
from ml.structures import CERVIX, Structure, StructureSet, UnknownStructureError, normalized_name

Item = TypeVar("Item")
_KEYS = frozenset({"ignore", "patient_pattern", "structures", "labels"})


class MappingError(Exception):
    """A mapping file cannot be used."""


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
            CaseRefusedError: AMBIGUOUS_STRUCTURE, two candidates are equally good.
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
        match = re.search(self.patient_pattern, path)
        return match.group(1) if match else None

    def _ranks(self, structure: Structure) -> list[tuple[str, ...]]:
        """Names by preference: each of the mapping file alone, or all synonyms at once."""
        if structure.name in self.names:
            return [(name,) for name in self.names[structure.name]]
        return [(structure.name, *structure.synonyms)]


def read_mapping(path: Path, structures: StructureSet = CERVIX) -> NameMap:
    """Read a mapping file.

    Raises:
        MappingError: it cannot be read, or names a structure that does not exist.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise MappingError(f"{path.name} cannot be read: {error}") from error
    unknown = sorted(set(values) - _KEYS)
    if unknown:
        raise MappingError(f"{path.name} has settings that do not exist: {', '.join(unknown)}")
    names = _by_structure(values, "structures", str, structures)
    _check_patterns([*_list(values, "ignore", str), *(n for some in names.values() for n in some)])
    return NameMap(
        structures=structures,
        ignored=_list(values, "ignore", str),
        names=names,
        label_values=_label_values(values, structures),
        patient_pattern=_patient_pattern(values),
    )


def _fits(name: str, wanted: str) -> bool:
    if _is_pattern(wanted):
        return re.fullmatch(wanted[1:-1], name, re.IGNORECASE) is not None
    return normalized_name(name) == normalized_name(wanted)


def _is_pattern(wanted: str) -> bool:
    return len(wanted) > 2 and wanted.startswith("/") and wanted.endswith("/")


def _only(structure: Structure, found: Sequence[tuple[str, Item]]) -> tuple[str, Item]:
    if len(found) == 1:
        return found[0]
    names = [name for name, _ in found]
    raise CaseRefusedError(
        ImportRefusal.AMBIGUOUS_STRUCTURE,
        f"{' and '.join(repr(name) for name in names)} both mean {structure.name}",
        {"structure": structure.name, "names": names},
    )


def _by_structure(
    values: Mapping[str, Any], key: str, kind: type[Item], structures: StructureSet
) -> dict[str, tuple[Item, ...]]:
    table = values.get(key, {})
    if not isinstance(table, dict):
        raise MappingError(f"{key} must be a table")
    found: dict[str, tuple[Item, ...]] = {}
    for name in table:
        try:
            own_name = structures.get(name).name
        except UnknownStructureError as error:
            raise MappingError(f"{key}: {error}") from error
        if own_name in found:
            raise MappingError(f"{key}: {own_name} stands there twice")
        found[own_name] = _list(table, name, kind)
    return found


def _list(values: Mapping[str, Any], key: str, kind: type[Item]) -> tuple[Item, ...]:
    value = values.get(key, [])
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, kind) and not isinstance(item, bool) for item in items):
        raise MappingError(f"{key}: every value must be a {kind.__name__}")
    return tuple(typing.cast("list[Item]", items))


def _label_values(
    values: Mapping[str, Any], structures: StructureSet
) -> dict[str, tuple[int, ...]]:
    table = _by_structure(values, "labels", int, structures)
    numbers = [number for some in table.values() for number in some]
    if len(set(numbers)) < len(numbers) or any(number < 1 for number in numbers):
        raise MappingError("labels: values must be positive, each for one structure")
    return table


def _patient_pattern(values: Mapping[str, Any]) -> str | None:
    pattern = values.get("patient_pattern")
    if pattern is None:
        return None
    try:
        groups = re.compile(pattern).groups
    except (re.error, TypeError) as error:
        raise MappingError(f"patient_pattern is no pattern: {error}") from error
    if groups != 1:
        raise MappingError("patient_pattern must have one group: the patient")
    return pattern


def _check_patterns(names: Sequence[str]) -> None:
    for name in names:
        if not _is_pattern(name):
            if not normalized_name(name):
                raise MappingError(f"{name!r} has no letter or digit to be compared")
            continue
        try:
            re.compile(name[1:-1])
        except re.error as error:
            raise MappingError(f"{name!r} is no pattern: {error}") from error
