"""Masks of one case to disjoint labels, or the reason why they cannot be."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from ml.arrays import LabelVolume, MaskVolume
from ml.data.importing.refusals import CaseRefusedError, Facts, ImportRefusal, Note, NoteCode
from ml.data.importing.settings import ImportSettings
from ml.name_map import AmbiguousNamesError
from ml.structures import Structure

Item = TypeVar("Item")


def choose_structures(
    candidates: Sequence[tuple[str, Item]], settings: ImportSettings
) -> tuple[dict[Structure, tuple[str, Item]], list[str]]:
    """Find the candidate of every structure, and the names that mean none.

    Raises:
        CaseRefusedError: AMBIGUOUS_STRUCTURE, two candidates are equally good.
    """
    try:
        return settings.names.choose(candidates)
    except AmbiguousNamesError as error:
        facts = {"structure": error.structure, "names": list(error.names)}
        raise CaseRefusedError(ImportRefusal.AMBIGUOUS_STRUCTURE, str(error), facts) from error


def check_complete(found: Sequence[Structure], settings: ImportSettings, names: Facts) -> None:
    """Refuse a case that lacks structures, unless that is allowed; one with none at all always.

    Raises:
        CaseRefusedError: STRUCTURE_MISSING.
    """
    wanted = settings.names.structures.structures
    missing = [structure.name for structure in wanted if structure not in found]
    if missing and (not settings.allows_missing or not found):
        raise CaseRefusedError(
            ImportRefusal.STRUCTURE_MISSING,
            f"no region is called {' or '.join(missing)}",
            {"missing": missing, **names},
        )


def merge_masks(
    masks: Mapping[Structure, MaskVolume], voxel_ml: float, settings: ImportSettings
) -> tuple[LabelVolume, list[Note]]:
    """Return labels in which priority decides where structures meet, and what was decided.

    Raises:
        CaseRefusedError: EMPTY_STRUCTURE, OVERLAPPING_STRUCTURES, or STRUCTURE_MISSING where
            empty structures are allowed and all are.
    """
    filled = {structure: mask for structure, mask in masks.items() if mask.any()}
    _check_empty(masks, filled, settings)
    notes = _missing_note(filled, settings)
    notes += _check_overlaps(filled, voxel_ml, settings)
    labels = np.zeros(next(iter(filled.values())).shape, np.uint8)
    for structure in sorted(filled, key=lambda s: -s.priority):
        labels[filled[structure]] = structure.number
    for structure in filled:
        if not (labels == structure.number).any():
            raise CaseRefusedError(
                ImportRefusal.EMPTY_STRUCTURE,
                f"{structure.name} lies wholly in structures of higher priority",
                {"structures": [structure.name]},
            )
    notes += _gap_notes(filled)
    return labels, notes


def _check_empty(
    masks: Mapping[Structure, MaskVolume],
    filled: Mapping[Structure, MaskVolume],
    settings: ImportSettings,
) -> None:
    empty = [structure.name for structure in masks if structure not in filled]
    if empty and (not settings.allows_missing or not filled):
        raise CaseRefusedError(
            ImportRefusal.EMPTY_STRUCTURE,
            f"{' and '.join(empty)} cover{'s' * (len(empty) == 1)} no voxel",
            {"structures": empty},
        )


def _missing_note(filled: Mapping[Structure, MaskVolume], settings: ImportSettings) -> list[Note]:
    wanted = settings.names.structures.structures
    missing = [structure.name for structure in wanted if structure not in filled]
    if not missing:
        return []
    message = f"without {', '.join(missing)}: their voxels count as background"
    return [Note(code=NoteCode.STRUCTURES_MISSING, message=message, facts={"structures": missing})]


def _check_overlaps(
    masks: Mapping[Structure, MaskVolume], voxel_ml: float, settings: ImportSettings
) -> list[Note]:
    """Return a note of every overlap, or refuse the case for those beyond the limit."""
    overlaps = []
    for one, other in itertools.combinations(masks, 2):
        shared = int(np.count_nonzero(masks[one] & masks[other]))
        if shared:
            smaller = min(np.count_nonzero(masks[one]), np.count_nonzero(masks[other]))
            kept_by = one if one.priority < other.priority else other
            overlaps.append(
                {
                    "structures": [one.name, other.name],
                    "overlap_ml": round(shared * voxel_ml, 3),
                    "share_of_smaller": round(shared / int(smaller), 4),
                    "kept_by": kept_by.name,
                }
            )
    limit = settings.overlap_limit
    beyond = [o for o in overlaps if limit is not None and o["share_of_smaller"] > limit]
    if beyond:
        pairs = ", ".join(" and ".join(overlap["structures"]) for overlap in beyond)
        raise CaseRefusedError(
            ImportRefusal.OVERLAPPING_STRUCTURES,
            f"{pairs} overlap by more than {limit:.0%} of the smaller",
            {"overlaps": beyond, "limit": limit},
        )
    message = "voxels in two structures went to the one of higher priority"
    return (
        [Note(code=NoteCode.OVERLAP_RESOLVED, message=message, facts={"overlaps": overlaps})]
        if overlaps
        else []
    )


def _gap_notes(masks: Mapping[Structure, MaskVolume]) -> list[Note]:
    """Name structures that skip slices between their first and last.

    Contours drawn on every second slice look like this, and so do lost ones.
    """
    gaps = {}
    for structure, mask in masks.items():
        shown = np.flatnonzero(mask.any(axis=(1, 2)))
        skipped = int(shown[-1] - shown[0]) + 1 - len(shown)
        if skipped:
            gaps[structure.name] = skipped
    message = "slices between a structure's first and last show nothing of it"
    return (
        [Note(code=NoteCode.SLICES_WITHOUT_CONTOUR, message=message, facts={"slices": gaps})]
        if gaps
        else []
    )
