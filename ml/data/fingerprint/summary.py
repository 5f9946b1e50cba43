"""What a dataset is like as a whole, and which of its cases ask for a look."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from ml.data.fingerprint.case import PERCENTILES, CaseFingerprint, StructureFingerprint
from ml.structures import StructureSet

OUTLIER_Z = 3.5
"""Of the modified z-score. Reference: Iglewicz and Hoaglin 1993, How to Detect and Handle
Outliers."""
MAD_TO_SD = 1.4826
"""The median absolute deviation of a normal distribution is its standard deviation by this."""
MEAN_AD_TO_SD = 1.2533
"""The same for the mean absolute deviation, which takes over where over half the values agree."""
FEWEST_CASES = 6
"""Of fewer values no median deviation says what is usual."""


class Finding(StrEnum):
    """Why a case asks for a look."""

    EQUAL_CASES = "equal_cases"
    EQUAL_IMAGES = "equal_images"
    """One CT with different labels: two observers, or a mistake."""
    PATIENT_OF_EQUAL_IMAGES = "patients_of_equal_images"
    """Equal images under two patients: a split may put them in two parts."""
    OUTLIER = "outlier"
    IMPLAUSIBLE_VOLUME = "implausible_volume"
    STRUCTURE_ABSENT = "structure_absent"
    TOUCHES_EDGE = "touches_edge"
    GAPS = "gaps"
    FRAGMENTS = "fragments"
    """More connected parts than the structure has."""
    OUTSIDE_CROP = "outside_crop"
    IDENTICAL_SLICES = "identical_slices"
    NO_BODY = "no_body"


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """One reason to look at cases."""

    finding: Finding
    case_ids: tuple[str, ...]
    facts: dict[str, Any]  # Any: json


@dataclass(frozen=True, kw_only=True, slots=True)
class _Quantity:
    """A number that cases are compared by."""

    name: str
    floor: float
    """Smallest standard deviation that matters: below it differences are rounding."""
    of: Callable[[CaseFingerprint], float | None]


def summarize(
    cases: Sequence[CaseFingerprint], structures: StructureSet
) -> dict[str, Any]:  # Any: json
    """Return the spread of every quantity over the cases as json types."""
    quantities = _quantities(structures)
    percentiles = [
        {"percentile": percentile, **_spread([case.hu_percentiles[i] for case in cases])}
        for i, percentile in enumerate(PERCENTILES)
    ]
    return {
        "cases": len(cases),
        "patients": len({case.patient_id for case in cases}),
        "cases_with": {
            name: sum(name in case.structures for case in cases) for name in structures.names
        },
        "body_hu_percentiles": percentiles,
        "quantities": {q.name: _spread(_present(q, cases)[1]) for q in quantities},
        "voxels_outside_crop": {
            name: sum(c.structures[name].outside_crop for c in cases if name in c.structures)
            for name in structures.names
        },
    }


def find_flags(cases: Sequence[CaseFingerprint], structures: StructureSet) -> list[Flag]:
    """Return everything that asks for a look: duplicates, outliers, and structures cut off."""
    flags = _duplicates(cases)
    for quantity in _quantities(structures):
        flags += _outliers(quantity, cases)
    for case in cases:
        flags += _case_flags(case, structures)
    return flags


def robust_z(values: Sequence[float], floor: float) -> list[float]:
    """Return modified z-scores: deviations from the median in robust standard deviations."""
    deviations = np.asarray(values, np.float64) - np.median(values)
    scale = MAD_TO_SD * float(np.median(np.abs(deviations)))
    if scale == 0:
        scale = MEAN_AD_TO_SD * float(np.mean(np.abs(deviations)))
    return (deviations / max(scale, floor)).tolist()


def _quantities(structures: StructureSet) -> list[_Quantity]:
    spread = [
        _Quantity(name="slices", floor=1.0, of=lambda case: float(case.shape[0])),
        _Quantity(name="slice_spacing_mm", floor=0.1, of=lambda case: case.spacing_mm[0]),
        _Quantity(name="row_spacing_mm", floor=0.01, of=lambda case: case.spacing_mm[1]),
        _Quantity(name="column_spacing_mm", floor=0.01, of=lambda case: case.spacing_mm[2]),
        _Quantity(name="extent_z_mm", floor=5.0, of=lambda case: case.extent_mm[0]),
        _Quantity(name="body_median_hu", floor=2.0, of=lambda case: case.hu_percentiles[3]),
    ]
    for name in structures.names:
        spread += [
            _of_structure(name, "volume_ml", 1.0, lambda s: s.volume_ml),
            _of_structure(name, "absent_share", 0.02, lambda s: s.absent_share),
            _of_structure(name, "above_lower_end_mm", 5.0, lambda s: s.above_lower_end_mm),
            _of_structure(name, "below_upper_end_mm", 5.0, lambda s: s.below_upper_end_mm),
            _of_structure(name, "hu_mean", 2.0, lambda s: s.hu_mean),
            _of_structure(name, "offset_x_mm", 2.0, lambda s: s.offset_mm[0]),
            _of_structure(name, "offset_y_mm", 2.0, lambda s: s.offset_mm[1]),
            _of_structure(name, "offset_z_mm", 2.0, lambda s: s.offset_mm[2]),
        ]
    return spread


def _of_structure(
    structure: str, name: str, floor: float, of: Callable[[StructureFingerprint], float]
) -> _Quantity:
    def read(case: CaseFingerprint) -> float | None:
        found = case.structures.get(structure)
        return None if found is None else of(found)

    return _Quantity(name=f"{structure} {name}", floor=floor, of=read)


def _present(
    quantity: _Quantity, cases: Sequence[CaseFingerprint]
) -> tuple[list[CaseFingerprint], list[float]]:
    pairs = [(case, quantity.of(case)) for case in cases]
    known = [(case, value) for case, value in pairs if value is not None]
    return [case for case, _ in known], [value for _, value in known]


def _spread(values: Sequence[float]) -> dict[str, float | int]:
    if not values:
        return {"cases": 0}
    low, quarter, median, three_quarters, high = np.percentile(values, (0, 25, 50, 75, 100))
    spread = {
        "min": low, "p25": quarter, "median": median, "p75": three_quarters, "max": high,
    }  # fmt: skip
    return {"cases": len(values), **{key: round(float(v), 4) for key, v in spread.items()}}


def _outliers(quantity: _Quantity, cases: Sequence[CaseFingerprint]) -> list[Flag]:
    present, values = _present(quantity, cases)
    if len(values) < FEWEST_CASES:
        return []
    usual = float(np.median(values))
    scored = zip(present, values, robust_z(values, quantity.floor), strict=True)
    return [
        Flag(
            finding=Finding.OUTLIER,
            case_ids=(case.case_id,),
            facts={
                "quantity": quantity.name,
                "value": round(value, 3),
                "median": round(usual, 3),
                "robust_z": round(z, 1),
            },
        )
        for case, value, z in scored
        if abs(z) > OUTLIER_Z
    ]


def _duplicates(cases: Sequence[CaseFingerprint]) -> list[Flag]:
    by_image: dict[str, list[CaseFingerprint]] = defaultdict(list)
    for case in cases:
        by_image[case.hu_sha256].append(case)
    flags = []
    for twins in (group for group in by_image.values() if len(group) > 1):
        by_labels: dict[str, list[str]] = defaultdict(list)
        for case in twins:
            by_labels[case.sha256].append(case.case_id)
        flags += [
            Flag(finding=Finding.EQUAL_CASES, case_ids=tuple(ids), facts={})
            for ids in by_labels.values()
            if len(ids) > 1
        ]
        names = tuple(case.case_id for case in twins)
        if len(by_labels) > 1:
            flags.append(Flag(finding=Finding.EQUAL_IMAGES, case_ids=names, facts={}))
        patients = sorted({case.patient_id for case in twins})
        if len(patients) > 1:
            facts = {"patients": patients}
            code = Finding.PATIENT_OF_EQUAL_IMAGES
            flags.append(Flag(finding=code, case_ids=names, facts=facts))
    return flags


def _case_flags(case: CaseFingerprint, structures: StructureSet) -> list[Flag]:
    """Return what is odd about a case whatever the others are like."""
    found: list[tuple[Finding, dict[str, Any]]] = []  # Any: json
    if not case.body_found:
        found.append((Finding.NO_BODY, {}))
    if case.identical_slices:
        found.append((Finding.IDENTICAL_SLICES, {"slices": list(case.identical_slices)}))
    for structure in structures.structures:
        facts = case.structures.get(structure.name)
        named = {"structure": structure.name}
        if facts is None:
            found.append((Finding.STRUCTURE_ABSENT, named))
            continue
        low, high = structure.plausible_volume_ml
        for finding, is_odd, value in (
            (Finding.IMPLAUSIBLE_VOLUME, not low <= facts.volume_ml <= high, facts.volume_ml),
            (Finding.TOUCHES_EDGE, facts.touches_edge, None),
            (Finding.GAPS, facts.gap_slices > 0, facts.gap_slices),
            (Finding.FRAGMENTS, facts.components > structure.max_components, facts.components),
            (Finding.OUTSIDE_CROP, facts.outside_crop > 0, facts.outside_crop),
        ):
            if is_odd:
                found.append((finding, named if value is None else {**named, "value": value}))
    return [
        Flag(finding=finding, case_ids=(case.case_id,), facts=facts) for finding, facts in found
    ]
