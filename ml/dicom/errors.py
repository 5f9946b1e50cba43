"""What can be wrong with DICOM input, each with a stable code and the instances it concerns."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any


class DicomErrorCode(StrEnum):
    """Stable reasons for a refusal; clients may branch on them, so values never change."""

    NOT_DICOM = "not_dicom"
    NO_IMAGES = "no_images"
    NOT_CT = "not_ct"
    LOCALIZER = "localizer"
    MULTIFRAME_UNSUPPORTED = "multiframe_unsupported"
    LOSSY_COMPRESSION = "lossy_compression"
    TRANSFER_SYNTAX_UNSUPPORTED = "transfer_syntax_unsupported"
    PIXELS_MISSING = "pixels_missing"
    PIXELS_TRUNCATED = "pixels_truncated"
    PIXEL_FORMAT_UNSUPPORTED = "pixel_format_unsupported"
    SEVERAL_SERIES = "several_series"
    SINGLE_SLICE = "single_slice"
    FRAME_OF_REFERENCE_MISSING = "frame_of_reference_missing"
    SEVERAL_FRAMES_OF_REFERENCE = "several_frames_of_reference"
    POSITION_MISSING = "position_missing"
    ORIENTATION_MISSING = "orientation_missing"
    PIXEL_SPACING_MISSING = "pixel_spacing_missing"
    RESCALE_MISSING = "rescale_missing"
    INVALID_VALUE = "invalid_value"
    MIXED_SIZES = "mixed_sizes"
    MIXED_PIXEL_SPACINGS = "mixed_pixel_spacings"
    MIXED_ORIENTATIONS = "mixed_orientations"
    NOT_AXIAL = "not_axial"
    GANTRY_TILT = "gantry_tilt"
    DUPLICATE_SLICES = "duplicate_slices"
    MISSING_SLICES = "missing_slices"
    IRREGULAR_SPACING = "irregular_spacing"
    BURNED_IN_ANNOTATION = "burned_in_annotation"
    RTSTRUCT_INVALID = "rtstruct_invalid"


class DicomError(Exception):
    """DICOM input was refused.

    Attributes:
        code: the stable reason.
        message: a sentence for people, without patient identifiers.
        sop_instance_uids: the offending instances, where known.
        file_names: the offending files as the sender named them, where known.
        facts: further values of the case (limits, measured numbers), json types only.
    """

    def __init__(
        self,
        code: DicomErrorCode,
        message: str,
        *,
        sop_instance_uids: Sequence[str] = (),
        file_names: Sequence[str] = (),
        facts: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.sop_instance_uids = tuple(sop_instance_uids)
        self.file_names = tuple(file_names)
        self.facts = dict(facts or {})

    def __reduce__(self) -> tuple[Any, ...]:  # Any: of pickle
        """Pickle the state: errors cross from one process to another."""
        return _rebuild, (self.args,), self.__dict__


def _rebuild(args: tuple[object, ...]) -> DicomError:
    return DicomError.__new__(DicomError, *args)
