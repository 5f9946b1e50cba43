"""Whose images a series is: the attributes that an RTSTRUCT has in common with its CT."""

import warnings
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from ml.dicom.encoding import (
    PARSE_ERRORS,
    MalformedFileError,
    open_dataset,
    raw_text,
    raw_value,
    read_elements,
)
from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.protected_attributes import put_raw
from ml.dicom.series import Instance

IDENTITY_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)
"""Present in every structure set, empty where the CT has nothing."""
IDENTITY_TYPE_3 = (
    "IssuerOfPatientID",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyDescription",
)
"""Copied where the CT has a value."""
IDENTITY_KEYWORDS = (*IDENTITY_TYPE_2, *IDENTITY_TYPE_3)

UTF_8 = "ISO_IR 192"
ENCODING = (True, True)
"""Implicit VR, little endian: what structure sets are written in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Patient and study as a file writes them."""

    character_sets: tuple[str, ...]
    """Under which the values are encoded; empty where the file names none."""
    values: Mapping[str, bytes]
    """By keyword, all IDENTITY_KEYWORDS; empty where the file has nothing."""

    def in_utf8(self, instance: Instance) -> "Identity":
        """Return the same values encoded as UTF-8.

        Raises:
            DicomError: INVALID_VALUE, of the instance they come from: bytes that do not belong to
                the declared character sets, or unknown ones.
        """
        source = Dataset()
        for keyword, value in self._raw_values():
            put_raw(source, keyword, value, ENCODING)
        try:
            values = _to_utf8(source)
        except (UserWarning, *PARSE_ERRORS) as error:
            raise _unreadable(instance) from error
        return Identity(character_sets=(UTF_8,), values=values)

    def _raw_values(self) -> list[tuple[str, bytes]]:
        character_sets = "\\".join(self.character_sets).encode("ascii")
        return [("SpecificCharacterSet", character_sets), *self.values.items()]


def read_identity(instance: Instance) -> Identity:
    """Read patient and study of an image, undecoded.

    Raises:
        DicomError: INVALID_VALUE, for values that are no text and files that were changed.
    """
    try:
        return _read(instance)
    except (MalformedFileError, *PARSE_ERRORS) as error:
        raise _unreadable(instance) from error


def _read(instance: Instance) -> Identity:
    keywords = ("SOPInstanceUID", "SpecificCharacterSet", *IDENTITY_KEYWORDS)
    stream, meta = open_dataset(instance.path)
    with closing(stream):
        syntax = raw_text(meta, "TransferSyntaxUID")[0]
        source = read_elements(stream, syntax, keywords)
    if raw_text(source, "SOPInstanceUID") != (instance.sop_instance_uid,):
        raise MalformedFileError("the file was changed since the series was indexed")
    return Identity(
        character_sets=raw_text(source, "SpecificCharacterSet"),
        values={keyword: raw_value(source, keyword) for keyword in IDENTITY_KEYWORDS},
    )


def _to_utf8(source: Dataset) -> dict[str, bytes]:
    """Return the values as UTF-8.

    Raises:
        UserWarning: bytes that do not belong to the declared character set.
        one of PARSE_ERRORS: an unknown character set, or what is no number where one belongs.
    """
    values: dict[str, bytes] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pydicom warns where it puts replacement characters
        for keyword in IDENTITY_KEYWORDS:
            found = source.get(keyword)
            words = found if isinstance(found, MultiValue) else [found or ""]
            values[keyword] = "\\".join(map(str, words)).encode()
    return values


def _unreadable(instance: Instance) -> DicomError:
    return DicomError(
        DicomErrorCode.INVALID_VALUE,
        "patient or study attributes cannot be read",
        sop_instance_uids=[instance.sop_instance_uid],
        file_names=[instance.name],
    )
