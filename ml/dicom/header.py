"""The header of one CT image: what a series is judged by, read without its pixels."""

import math
import re
import struct
from contextlib import closing
from dataclasses import dataclass

from pydicom import uid
from pydicom.dataset import Dataset

from ml.dicom.encoding import (
    NUMBER_CHARACTERS,
    MalformedFileError,
    find_pixel_element,
    measure_pixels,
    open_dataset,
    raw_text,
    raw_value,
    read_elements,
)
from ml.dicom.files import SkipReason, SourceFile

CT_CLASSES = frozenset[str](
    {uid.CTImageStorage, uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage}
)
_VALID_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_KEYWORDS = (
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "GantryDetectorTilt",
    "PatientPosition",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "LossyImageCompression",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelFormat:
    """How one pixel is stored; 0 or an empty text where the header does not say."""

    samples_per_pixel: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    padding: int | None
    """Stored value of pixels outside the reconstructed circle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelExtent:
    """Where the pixel data lie in the (inflated) data set."""

    offset: int
    length: int | None
    """Bytes of the value; None if it is not all there."""
    is_integer: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageHeader:
    """One image as its file describes it; None or an empty text where it says nothing."""

    source: SourceFile
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    modality: str
    image_type: tuple[str, ...]
    patient_position: str
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing_mm: tuple[float, ...] | None
    gantry_tilt_degrees: float | None
    rows: int
    columns: int
    frame_count: int
    pixel_format: PixelFormat
    rescale_slope: float | None
    rescale_intercept: float | None
    rescale_type: str
    lossy_compression: str
    pixels: PixelExtent | None
    malformed: tuple[str, ...]
    """Keywords whose values cannot be understood."""


def read_header(source: SourceFile) -> ImageHeader | SkipReason:
    """Read one image's header, or tell why a DICOM file is no image.

    Raises:
        MalformedFileError: the file cannot be read as DICOM.
    """
    stream, meta = open_dataset(source.path)
    with closing(stream):
        syntax = raw_text(meta, "TransferSyntaxUID")[0]
        dataset = read_elements(stream, syntax, _KEYWORDS)
        values = _Values(dataset, syntax)
        sop_class = values.uid("SOPClassUID")
        if _is_directory(meta):
            return SkipReason.DICOMDIR
        if not sop_class:
            raise MalformedFileError("no SOP class")
        rows, columns = values.unsigned("Rows"), values.unsigned("Columns")
        pixel_format = values.pixel_format()
        element = find_pixel_element(stream, syntax)
        if _is_no_image(sop_class, has_pixels=element is not None or rows > 0):
            return SkipReason.NOT_AN_IMAGE
        extent = None
        if element is not None:
            native_bytes = (
                rows * columns * pixel_format.samples_per_pixel * pixel_format.bits_allocated // 8
            )
            extent = PixelExtent(
                offset=element.offset,
                length=measure_pixels(stream, element, syntax, native_bytes),
                is_integer=element.is_integer,
            )
    return _header(source, syntax, values, pixel_format, extent)


def _header(
    source: SourceFile,
    syntax: str,
    values: "_Values",
    pixel_format: PixelFormat,
    pixels: PixelExtent | None,
) -> ImageHeader:
    fields = {
        "transfer_syntax_uid": syntax,
        "sop_class_uid": values.uid("SOPClassUID"),
        "sop_instance_uid": values.uid("SOPInstanceUID", is_required=True),
        "study_instance_uid": values.uid("StudyInstanceUID", is_required=True),
        "series_instance_uid": values.uid("SeriesInstanceUID", is_required=True),
        "frame_of_reference_uid": values.uid("FrameOfReferenceUID"),
        "modality": values.word("Modality"),
        "image_type": values.words("ImageType"),
        "patient_position": values.word("PatientPosition"),
        "position_mm": values.numbers("ImagePositionPatient", 3),
        "orientation": values.numbers("ImageOrientationPatient", 6),
        "pixel_spacing_mm": values.numbers("PixelSpacing", 2),
        "gantry_tilt_degrees": values.number("GantryDetectorTilt"),
        "rows": values.unsigned("Rows"),
        "columns": values.unsigned("Columns"),
        "frame_count": int(values.number("NumberOfFrames") or 1),
        "rescale_slope": values.number("RescaleSlope"),
        "rescale_intercept": values.number("RescaleIntercept"),
        "rescale_type": values.word("RescaleType"),
        "lossy_compression": values.word("LossyImageCompression"),
    }
    malformed = tuple(sorted(values.malformed))
    return ImageHeader(
        source=source, pixel_format=pixel_format, pixels=pixels, malformed=malformed, **fields
    )


class _Values:
    """Typed access to raw elements that remembers which of them made no sense."""

    def __init__(self, dataset: Dataset, syntax: str) -> None:
        self._dataset = dataset
        self._order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
        self.malformed: set[str] = set()

    def words(self, keyword: str) -> tuple[str, ...]:
        try:
            return raw_text(self._dataset, keyword)
        except ValueError:
            self.malformed.add(keyword)
            return ()

    def word(self, keyword: str) -> str:
        return next(iter(self.words(keyword)), "")

    def uid(self, keyword: str, *, is_required: bool = False) -> str:
        value = self.word(keyword)
        is_valid = len(value) <= 64 and _VALID_UID.fullmatch(value)
        if not is_valid and (value or is_required):
            self.malformed.add(keyword)
        return value

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return exactly that many finite numbers; None where there are none."""
        words = self.words(keyword)
        try:
            values = tuple(map(_number, words))
        except ValueError:
            values = (math.nan,)
        if words and (len(values) != count or not all(map(math.isfinite, values))):
            self.malformed.add(keyword)
        if keyword in self.malformed:
            return (0.0,) * count  # there is a value, if a bad one: it is not missing
        return values or None

    def number(self, keyword: str) -> float | None:
        values = self.numbers(keyword, 1)
        return None if values is None else values[0]

    def unsigned(self, keyword: str) -> int:
        return self._short(keyword, "H") or 0

    def pixel_format(self) -> PixelFormat:
        is_signed = self.unsigned("PixelRepresentation") == 1
        return PixelFormat(
            samples_per_pixel=self.unsigned("SamplesPerPixel"),
            photometric_interpretation=self.word("PhotometricInterpretation"),
            bits_allocated=self.unsigned("BitsAllocated"),
            bits_stored=self.unsigned("BitsStored"),
            high_bit=self.unsigned("HighBit"),
            is_signed=is_signed,
            padding=self._short("PixelPaddingValue", "h" if is_signed else "H"),
        )

    def _short(self, keyword: str, kind: str) -> int | None:
        try:
            value = raw_value(self._dataset, keyword)
            if not value:
                return None
            (number,) = struct.unpack(self._order + kind, value)
        except (ValueError, struct.error):
            self.malformed.add(keyword)
            return None
        return number


def _number(word: str) -> float:
    if word.encode().translate(None, NUMBER_CHARACTERS):  # Python takes 1_0 for a number
        raise ValueError("there is no number where one belongs")
    return float(word)


def _is_directory(meta: Dataset) -> bool:
    try:
        sop_class = raw_value(meta, "MediaStorageSOPClassUID").rstrip(b" \0")
    except ValueError as error:
        raise MalformedFileError(str(error)) from error
    return sop_class == uid.MediaStorageDirectoryStorage.encode()


def _is_no_image(sop_class: str, *, has_pixels: bool) -> bool:
    """Tell whether an object takes no part: a dose grid has pixels, but is no picture."""
    if sop_class in CT_CLASSES:
        return False
    return not has_pixels or sop_class == uid.RTDoseStorage
