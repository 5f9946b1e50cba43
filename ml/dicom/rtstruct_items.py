"""What a structure set file says, as far as contours go; written apart from what writes it."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from ml.arrays import PointsMm
from ml.dicom.encoding import (
    NUMBER_CHARACTERS,
    PARSE_ERRORS,
    is_cut,
    naming_parse_errors,
    once_each,
    raw_value,
)
from ml.dicom.errors import DicomError, DicomErrorCode

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"

_BINARY_NUMBERS = frozenset({"FL", "FD", "SS", "US", "SL", "UL", "SV", "UV", "AT"})


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Contour:
    """One item of a Contour Sequence."""

    roi_number: int
    geometric_type: str
    image_uids: tuple[str, ...]
    declared_points: int | None
    """None where the file does not say."""
    points_mm: PointsMm
    data_bytes: int
    longest_value: int
    """Bytes of the longest decimal string."""


def open_structure_set(path: Path | BytesIO) -> FileDataset:
    """Return the data set of a whole structure set file.

    One without ROI Contour Sequence, which PS3.3 C.8.8.6 requires, is taken for a file that lost
    it; an empty sequence says that there are no contours.

    Raises:
        DicomError: RTSTRUCT_INVALID, for anything else.
    """
    try:
        with naming_parse_errors():
            dataset = _read(path)
    except (InvalidDicomError, *PARSE_ERRORS) as error:
        raise invalid_rtstruct(["the file cannot be read as DICOM"]) from error
    if is_cut(dataset):
        raise invalid_rtstruct(["the file ends before its contents do"])
    if dataset.get("SOPClassUID") != RTSTRUCT_CLASS:
        raise invalid_rtstruct(["the file is no RT Structure Set"])
    if "ROIContourSequence" not in dataset:
        raise invalid_rtstruct(["there is no ROI Contour Sequence"])
    return dataset


def _read(path: Path | BytesIO) -> FileDataset:
    if isinstance(path, BytesIO):
        return read_partial(path, stop_when=once_each(_never))
    with path.open("rb") as stream:
        return read_partial(stream, stop_when=once_each(_never))


def _never(tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG001  # pydicom's callback
    return False


def invalid_rtstruct(problems: list[str]) -> DicomError:
    """Return a refusal that lists the first problems and counts them all."""
    return DicomError(
        DicomErrorCode.RTSTRUCT_INVALID,
        f"the structure set is not valid: {problems[0]}",
        facts={"problems": problems[:20], "problem_count": len(problems)},
    )


@contextmanager
def refusing_damage() -> Iterator[None]:
    """Refuse a structure set whose content turns out to be damaged while it is read.

    pydicom reads values when they are asked for, so any line that does may meet them.

    Raises:
        DicomError: RTSTRUCT_INVALID.
    """
    try:
        with naming_parse_errors():
            yield
    except PARSE_ERRORS as error:
        raise invalid_rtstruct([f"damaged content: {type(error).__name__}"]) from error


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none where it is absent.

    Raises:
        one of PARSE_ERRORS: bytes that are no sequence.
    """
    with naming_parse_errors():
        return list(dataset.get(keyword) or ())


def raw_numbers(dataset: Dataset, keyword: str) -> bytes:
    """Return a decimal or integer string as it stands in the file; empty where there is none.

    Raises:
        ValueError: anything else stands there; what Python takes for a number, too (nan, 1_0).
    """
    value = raw_value(dataset, keyword)
    if value and dataset.get_item(keyword, keep_deferred=True).VR in _BINARY_NUMBERS:
        raise ValueError("a binary number where a text belongs")
    if value.translate(None, NUMBER_CHARACTERS):
        raise ValueError("there is no number where one belongs")
    return value


def plain_text(dataset: Dataset, keyword: str) -> str:
    """Return an identifier or a defined term without outer blanks; empty for what is none."""
    try:
        return as_text(raw_value(dataset, keyword))
    except ValueError:  # a sequence in the place of a value
        return ""


def as_text(value: bytes) -> str:
    """Return the bytes of an identifier as text to compare; Latin 1 never fails."""
    return value.decode("latin-1").strip(" \0")


def iterate_contours(dataset: Dataset, numbers: Container[int] | None = None) -> Iterator[Contour]:
    """Yield every contour of the file, or those of the numbered regions.

    Raises:
        one of PARSE_ERRORS: values that are no numbers, or not three to a point.
    """
    for roi in items(dataset, "ROIContourSequence"):
        if numbers is not None and int(roi.ReferencedROINumber) not in numbers:
            continue
        for item in items(roi, "ContourSequence"):
            data = raw_numbers(item, "ContourData").rstrip(b" \0")
            values = data.split(b"\\") if data else []
            points = np.array([float(value) for value in values], np.float64).reshape(-1, 3)
            declared = raw_numbers(item, "NumberOfContourPoints").strip(b" \0")
            images = items(item, "ContourImageSequence")
            yield Contour(
                roi_number=int(roi.ReferencedROINumber),
                geometric_type=plain_text(item, "ContourGeometricType"),
                image_uids=tuple(plain_text(i, "ReferencedSOPInstanceUID") for i in images),
                declared_points=_count(declared) if declared else None,
                points_mm=points,
                data_bytes=len(data),
                longest_value=max((len(value.strip()) for value in values), default=0),
            )


def _count(value: bytes) -> int:
    count = float(value)
    if not count.is_integer():  # some writers give a whole number a decimal point
        raise ValueError("a count is no whole number")
    return int(count)
