"""What every single image of a series must satisfy, in the order in which it is refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import uid

from ml.dicom.encoding import LOSSY_SYNTAXES, SUPPORTED_SYNTAXES
from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.header import ImageHeader
from ml.geometry import DIRECTION_TOLERANCE

SCOUT_WORDS = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"})
"""Image Type values of projection images; the standard knows LOCALIZER, vendors the others."""

HU_TYPES = frozenset({"", "HU", "US"})
"""Rescale Types that stand for Hounsfield units: absent means HU in a CT image
(PS3.3 C.11.1.1.2), and scanners write US, unspecified, for the same thing."""

MAX_MATRIX = 4096
"""Rows and columns; the largest clinical CT matrix is 2048."""
MAX_PIXEL_SPACING_MM = 20.0
"""A 512 matrix of it is ten metres wide: larger values are slips of the unit."""
MAX_POSITION_MM = 10_000.0
"""No table travels ten metres."""
MAX_RESCALE = 1e5
"""Of slope and intercept; a rescaled 16-bit value far beyond int16 is refused at reading."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rule:
    code: DicomErrorCode
    message: str
    is_broken: Callable[[ImageHeader], bool]


def check_images(headers: Sequence[ImageHeader]) -> None:
    """Raise for the first rule that any image breaks, naming every image that breaks it.

    Raises:
        DicomError: always with the offending instances and files.
    """
    for rule in _RULES:
        offenders = [header for header in headers if rule.is_broken(header)]
        if offenders:
            raise refusal(rule.code, rule.message, offenders, _facts(rule.code, offenders))


def refusal(
    code: DicomErrorCode,
    message: str,
    offenders: Sequence[ImageHeader],
    facts: dict[str, object] | None = None,
) -> DicomError:
    """Return a refusal that names the offenders in order of their file names."""
    ordered = sorted(offenders, key=lambda header: header.source.name)
    return DicomError(
        code,
        message,
        sop_instance_uids=[header.sop_instance_uid for header in ordered],
        file_names=[header.source.name for header in ordered],
        facts=facts,
    )


def _facts(code: DicomErrorCode, offenders: Sequence[ImageHeader]) -> dict[str, object]:
    if code is DicomErrorCode.INVALID_VALUE:
        return {"attributes": sorted({name for h in offenders for name in _invalid(h)})}
    if code in (DicomErrorCode.LOSSY_COMPRESSION, DicomErrorCode.TRANSFER_SYNTAX_UNSUPPORTED):
        return {"transfer_syntax_uids": sorted({h.transfer_syntax_uid for h in offenders})}
    return {}


def _is_multiframe(header: ImageHeader) -> bool:
    return header.frame_count > 1 or header.sop_class_uid in (
        uid.EnhancedCTImageStorage,
        uid.LegacyConvertedEnhancedCTImageStorage,
    )


def _is_not_ct(header: ImageHeader) -> bool:
    return header.modality != "CT" or header.sop_class_uid != uid.CTImageStorage


def _is_lossy(header: ImageHeader) -> bool:
    """Tell whether pixels lost precision; JPEG 2000 (.91) must say that they did not."""
    if header.transfer_syntax_uid in LOSSY_SYNTAXES or header.lossy_compression == "01":
        return True
    return header.transfer_syntax_uid == uid.JPEG2000 and header.lossy_compression != "00"


def _has_odd_pixels(header: ImageHeader) -> bool:
    pixels = header.pixel_format
    return (
        pixels.samples_per_pixel != 1
        or pixels.photometric_interpretation != "MONOCHROME2"
        or pixels.bits_allocated != 16
        or not 8 <= pixels.bits_stored <= 16
        or pixels.high_bit != pixels.bits_stored - 1
        or header.rescale_type not in HU_TYPES
        or (header.pixels is not None and not header.pixels.is_integer)
    )


def _invalid(header: ImageHeader) -> list[str]:
    """Return the keywords of values that make no sense; absent values are other rules' matter."""
    names = set(header.malformed)
    spacing, position = header.pixel_spacing_mm or (1.0, 1.0), header.position_mm or (0.0,)
    orientation = header.orientation or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    bounds = {
        "Rows": 1 <= header.rows <= MAX_MATRIX,
        "Columns": 1 <= header.columns <= MAX_MATRIX,
        "PixelSpacing": all(0 < value <= MAX_PIXEL_SPACING_MM for value in spacing),
        "ImagePositionPatient": all(abs(value) <= MAX_POSITION_MM for value in position),
        "ImageOrientationPatient": _are_unit_vectors_at_right_angles(orientation),
        "RescaleSlope": 0 < abs(header.rescale_slope or 0) <= MAX_RESCALE,
        "RescaleIntercept": abs(header.rescale_intercept or 0) <= MAX_RESCALE,
    }
    return sorted(names | {name for name, is_plausible in bounds.items() if not is_plausible})


def _are_unit_vectors_at_right_angles(orientation: tuple[float, ...]) -> bool:
    directions = np.array(orientation).reshape(2, 3)
    return bool(np.abs(directions @ directions.T - np.eye(2)).max() <= DIRECTION_TOLERANCE)


_RULES = (
    _Rule(
        code=DicomErrorCode.MULTIFRAME_UNSUPPORTED,
        message="enhanced or multi-frame CT is not supported: send one image per slice",
        is_broken=_is_multiframe,
    ),
    _Rule(
        code=DicomErrorCode.NOT_CT,
        message="only CT images are contoured",
        is_broken=_is_not_ct,
    ),
    _Rule(
        code=DicomErrorCode.LOCALIZER,
        message="localizer images are projections: send the slices only",
        is_broken=lambda header: bool(SCOUT_WORDS & {v.upper() for v in header.image_type}),
    ),
    _Rule(
        code=DicomErrorCode.LOSSY_COMPRESSION,
        message="lossy compression changes Hounsfield units",
        is_broken=_is_lossy,
    ),
    _Rule(
        code=DicomErrorCode.TRANSFER_SYNTAX_UNSUPPORTED,
        message="the transfer syntax is not supported",
        is_broken=lambda header: header.transfer_syntax_uid not in SUPPORTED_SYNTAXES,
    ),
    _Rule(
        code=DicomErrorCode.PIXELS_MISSING,
        message="there is no pixel data: the file may be cut off",
        is_broken=lambda header: header.pixels is None,
    ),
    _Rule(
        code=DicomErrorCode.PIXEL_FORMAT_UNSUPPORTED,
        message="pixels must be MONOCHROME2 Hounsfield units of 8 to 16 bits in 16",
        is_broken=_has_odd_pixels,
    ),
    _Rule(
        code=DicomErrorCode.PIXELS_TRUNCATED,
        message="pixel data ends too early",
        is_broken=lambda header: header.pixels is not None and header.pixels.length is None,
    ),
    _Rule(
        code=DicomErrorCode.FRAME_OF_REFERENCE_MISSING,
        message="without a frame of reference contours cannot be tied to the patient",
        is_broken=lambda header: not header.frame_of_reference_uid,
    ),
    _Rule(
        code=DicomErrorCode.POSITION_MISSING,
        message="Image Position (Patient) is missing",
        is_broken=lambda header: header.position_mm is None,
    ),
    _Rule(
        code=DicomErrorCode.ORIENTATION_MISSING,
        message="Image Orientation (Patient) is missing",
        is_broken=lambda header: header.orientation is None,
    ),
    _Rule(
        code=DicomErrorCode.PIXEL_SPACING_MISSING,
        message="Pixel Spacing is missing",
        is_broken=lambda header: header.pixel_spacing_mm is None,
    ),
    _Rule(
        code=DicomErrorCode.RESCALE_MISSING,
        message="Rescale Slope or Intercept is missing",
        is_broken=lambda header: header.rescale_slope is None or header.rescale_intercept is None,
    ),
    _Rule(
        code=DicomErrorCode.INVALID_VALUE,
        message="attributes with values that make no sense",
        is_broken=lambda header: bool(_invalid(header)),
    ),
)
