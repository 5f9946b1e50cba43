"""What a structure set file says, as far as contours go; written apart from what writes it."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError

from ml.arrays import PointsMm
from ml.dicom.encoding import PARSE_ERRORS, naming_parse_errors, raw_value
from ml.dicom.errors import DicomError, DicomErrorCode

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Contour:
    """One item of a Contour Sequence."""

    roi_number: int
    geometric_type: str
    image_uids: tuple[str, ...]
    declared_points: int
    points_mm: PointsMm
    data_bytes: int
    longest_value: int
    """Bytes of the longest decimal string."""


def open_structure_set(path: Path) -> FileDataset:
    """Return the data set of a structure set file.

    Raises:
        DicomError: RTSTRUCT_INVALID, for anything else.
    """
    try:
        with naming_parse_errors():
            dataset = dcmread(path)
    except (InvalidDicomError, *PARSE_ERRORS) as error:
        raise invalid_rtstruct(["the file cannot be read as DICOM"]) from error
    if dataset.get("SOPClassUID") != RTSTRUCT_CLASS:
        raise invalid_rtstruct(["the file is no RT Structure Set"])
    return dataset


def invalid_rtstruct(problems: list[str]) -> DicomError:
    """Return a refusal that lists the first problems and counts them all."""
    return DicomError(
        DicomErrorCode.RTSTRUCT_INVALID,
        f"the structure set is not valid: {problems[0]}",
        facts={"problems": problems[:20], "problem_count": len(problems)},
    )


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none where it is absent.

    Raises:
        one of PARSE_ERRORS: bytes that are no sequence.
    """
    with naming_parse_errors():
        return list(dataset.get(keyword) or ())


def iterate_contours(dataset: Dataset, numbers: Container[int] | None = None) -> Iterator[Contour]:
    """Yield every contour of the file, or those of the numbered regions.

    Raises:
        one of PARSE_ERRORS: values that are no numbers, or not three to a point.
    """
    for roi in items(dataset, "ROIContourSequence"):
        if numbers is not None and int(roi.ReferencedROINumber) not in numbers:
            continue
        for item in items(roi, "ContourSequence"):
            data = raw_value(item, "ContourData").rstrip(b" \0")
            values = data.split(b"\\") if data else []
            points = np.array([float(value) for value in values], np.float64).reshape(-1, 3)
            images = items(item, "ContourImageSequence")
            yield Contour(
                roi_number=int(roi.ReferencedROINumber),
                geometric_type=str(item.get("ContourGeometricType", "")),
                image_uids=tuple(str(i.get("ReferencedSOPInstanceUID", "")) for i in images),
                declared_points=int(item.get("NumberOfContourPoints") or 0),
                points_mm=points,
                data_bytes=len(data),
                longest_value=max((len(value.strip()) for value in values), default=0),
            )
