"""Why a case was not imported, and what was assumed of one that was."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ImportRefusal(StrEnum):
    """Stable reasons beside those of ml.dicom for the CT itself; values never change."""

    MISSING_CT = "missing_ct"
    MISSING_LABELS = "missing_labels"
    """A CT without a structure set, or an image without label maps."""
    SEVERAL_STRUCTURE_SETS = "several_structure_sets"
    """More than one structure set of the same CT: which is the truth cannot be told."""
    AMBIGUOUS_CT = "ambiguous_ct"
    """Several CT series fit a structure set equally well."""
    ORPHAN_REFERENCE = "orphan_reference"
    WRONG_FRAME_OF_REFERENCE = "wrong_frame_of_reference"
    STRUCTURE_MISSING = "structure_missing"
    AMBIGUOUS_STRUCTURE = "ambiguous_structure"
    EMPTY_STRUCTURE = "empty_structure"
    OVERLAPPING_STRUCTURES = "overlapping_structures"
    CONTOURS_OTHER_PLANES = "contours_other_planes"
    """Contours of several planes name one image: which of them is the truth cannot be told."""
    LABELS_OUTSIDE_IMAGE = "labels_outside_image"
    GEOMETRY_MISMATCH = "geometry_mismatch"
    AFFINE_UNSUPPORTED = "affine_unsupported"
    UNKNOWN_LABEL_VALUES = "unknown_label_values"
    NIFTI_INVALID = "nifti_invalid"
    DUPLICATE_CASE = "duplicate_case"
    UNREADABLE = "unreadable"
    """Files that cannot be read at all."""


class NoteCode(StrEnum):
    """What a researcher should know of an imported case."""

    OVERLAP_RESOLVED = "overlap_resolved"
    STRUCTURES_MISSING = "structures_missing"
    EMPTY_REGION_IGNORED = "empty_region_ignored"
    ORPHAN_REFERENCES_PLACED = "orphan_references_placed"
    CONTOURS_WITHOUT_AREA = "contours_without_area"
    CONTOURS_BETWEEN_SLICES = "contours_between_slices"
    SLICES_WITHOUT_CONTOUR = "slices_without_contour"
    LABEL_VALUES_IGNORED = "label_values_ignored"
    FURTHER_CHANNELS_IGNORED = "further_channels_ignored"
    UNUSUAL_HU = "unusual_hu"


Facts = dict[str, Any]  # Any: values as json has them


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """Something assumed or left out, without identifiers of a patient."""

    code: NoteCode
    message: str
    facts: Facts = field(default_factory=dict)


class CaseRefusedError(Exception):
    """A case cannot be imported; the others can.

    Attributes:
        code: the stable reason.
        message: a sentence for people.
        facts: the values it rests on, json types only.
    """

    def __init__(self, code: ImportRefusal, message: str, facts: Facts | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.facts = dict(facts or {})
