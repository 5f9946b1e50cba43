"""The data set of a structure set without its contours: rt-utils' shell, repaired and completed.

rt-utils 1.2.7 is given stand-ins for the slices, so it opens no file, decodes no pixel and
copies no attribute. What it knows to write (references, regions, observations) is kept; what it
invents (manufacturer, institution, label, descriptions) is replaced.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.multival import MultiValue
from pydicom.uid import UID
from rt_utils import ds_helper
from rt_utils.rtstruct import RTStruct

from ml.dicom.encoding import (
    PARSE_ERRORS,
    MalformedFileError,
    open_dataset,
    raw_text,
    raw_value,
    read_elements,
)
from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.series import Instance, SeriesIndex
from ml.structures import Structure

MANUFACTURER = "CerviContour"
SERIES_DESCRIPTION = "CerviContour AUTO, NOT FOR CLINICAL USE WITHOUT REVIEW"
STRUCTURE_SET_LABEL = "AUTO UNAPPROVED"
STRUCTURE_SET_DESCRIPTION = (
    "Automatic contours. Unapproved: not for clinical use without review and correction by a "
    "qualified clinician."
)
IMPLEMENTATION_CLASS_UID = UID("2.25.257741083386104316087174530413471823217")
IMPLEMENTATION_VERSION = "CERVICONTOUR"

_COPIED_TYPE_2 = (
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
_COPIED_TYPE_3 = (
    "IssuerOfPatientID",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyDescription",
)
"""Copied where the CT has a value."""
_COPIED = (*_COPIED_TYPE_2, *_COPIED_TYPE_3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What made the contours."""

    software_version: str
    model_version: str
    weights_sha256: str
    created_at: datetime
    """Written as date and time of its own zone."""


def start_structure_set(series: SeriesIndex) -> RTStruct:
    """Return rt-utils' shell with references to every slice of the series and no region."""
    slices = _stand_ins(series)
    with _contained():
        return RTStruct(slices, ds_helper.create_rtstruct_dataset(slices))


def add_region(shell: RTStruct, structure: Structure) -> Dataset:
    """Add a region without contours, and return its ROI Contour item."""
    nothing = np.zeros((1, 1, len(shell.series_data)), np.bool_)
    with _contained():
        shell.add_roi(mask=nothing, color=list(structure.color_rgb), name=structure.name)
    region = shell.ds.StructureSetROISequence[-1]
    contour = shell.ds.ROIContourSequence[-1]
    observation = shell.ds.RTROIObservationsSequence[-1]
    region.ROINumber = structure.number
    contour.ReferencedROINumber = structure.number
    observation.ReferencedROINumber = observation.ObservationNumber = structure.number
    observation.RTROIInterpretedType = structure.interpreted_type.value
    del observation.ROIObservationDescription  # rt-utils' own drawing options: not in the IOD
    del region.ROIDescription  # empty
    del contour.ContourSequence  # no items: allowed only by its absence
    return contour


def complete_structure_set(
    dataset: FileDataset, series: SeriesIndex, provenance: Provenance, uids: tuple[str, str]
) -> None:
    """Give the shell its identity: patient and study as in the CT, and what made it.

    uids: of the instance and of its series.
    """
    instance_uid, series_uid = uids
    dataset.SOPInstanceUID = instance_uid
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(instance_uid)
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    dataset.SeriesInstanceUID = series_uid
    dataset.FrameOfReferenceUID = series.frame_of_reference_uid
    dataset.OperatorsName = ""
    _set_times(dataset, provenance.created_at)
    del dataset.InstitutionName  # rt-utils writes the laboratory it comes from
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions = [
        f"{MANUFACTURER} {provenance.software_version}"[:64],
        f"model {provenance.model_version}"[:64],
        f"weights sha256 {provenance.weights_sha256[:32]}",
    ]
    dataset.SeriesDescription = SERIES_DESCRIPTION
    dataset.StructureSetLabel = STRUCTURE_SET_LABEL
    dataset.StructureSetDescription = STRUCTURE_SET_DESCRIPTION
    dataset.ApprovalStatus = "UNAPPROVED"
    names = [region.ROIName for region in dataset.StructureSetROISequence]
    _copy_identity(dataset, series, is_ascii=all(name.isascii() for name in names))


def _set_times(dataset: Dataset, created_at: datetime) -> None:
    date, time = created_at.strftime("%Y%m%d"), created_at.strftime("%H%M%S.%f")
    for event in ("InstanceCreation", "Series", "StructureSet"):
        setattr(dataset, f"{event}Date", date)
        setattr(dataset, f"{event}Time", time)


def _copy_identity(dataset: Dataset, series: SeriesIndex, *, is_ascii: bool) -> None:
    """Copy patient and study from the first slice, byte for byte under the CT's character set.

    Bytes are only decoded where region names need UTF-8: systems match patients by these
    values, and decoding what a scanner encoded wrongly would change them.
    """
    first = series.instances[0]
    try:
        source = _read_identity(first)
        character_sets = raw_text(source, "SpecificCharacterSet")
        values = {keyword: raw_value(source, keyword) for keyword in _COPIED}
        if not is_ascii:
            character_sets, values = ("ISO_IR 192",), _to_utf8(source)
    except (MalformedFileError, UserWarning, *PARSE_ERRORS) as error:
        raise DicomError(
            DicomErrorCode.INVALID_VALUE,
            "patient or study attributes cannot be read",
            sop_instance_uids=[first.sop_instance_uid],
            file_names=[first.name],
        ) from error
    del dataset.SpecificCharacterSet  # rt-utils assumes Latin 1
    if character_sets:
        dataset["SpecificCharacterSet"] = DataElement(  # as it stands, misspelt or not
            "SpecificCharacterSet", "CS", list(character_sets), already_converted=True
        )
    for keyword, value in values.items():
        if value or keyword in _COPIED_TYPE_2:
            # No VR is written in implicit VR; as OB, pydicom leaves the bytes alone.
            dataset[keyword] = DataElement(keyword, "OB", value)
        elif keyword in dataset:
            delattr(dataset, keyword)


def _read_identity(instance: Instance) -> Dataset:
    stream, meta = open_dataset(instance.path)
    with closing(stream):
        syntax = raw_text(meta, "TransferSyntaxUID")[0]
        source = read_elements(stream, syntax, ("SOPInstanceUID", "SpecificCharacterSet", *_COPIED))
    if raw_text(source, "SOPInstanceUID") != (instance.sop_instance_uid,):
        raise MalformedFileError("the file was changed since the series was indexed")
    return source


def _to_utf8(source: Dataset) -> dict[str, bytes]:
    """Return the values as UTF-8.

    Raises:
        UserWarning: bytes that do not belong to the declared character set.
        one of PARSE_ERRORS: an unknown character set.
    """
    values: dict[str, bytes] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pydicom warns where it puts replacement characters
        for keyword in _COPIED:
            found = source.get(keyword)
            if isinstance(found, bytes):
                raise ValueError(f"{keyword} is no text")  # noqa: TRY004  # bad data, not a bug
            words = found if isinstance(found, MultiValue) else [found or ""]
            values[keyword] = "\\".join(map(str, words)).encode()
    return values


def _stand_ins(series: SeriesIndex) -> list[Dataset]:
    """Return what rt-utils reads of each slice; the empty masks never use the unit geometry."""
    common = Dataset()
    common.StudyInstanceUID = series.study_instance_uid
    common.SeriesInstanceUID = series.series_instance_uid
    common.FrameOfReferenceUID = series.frame_of_reference_uid
    common.StudyDate = common.StudyTime = common.StudyID = ""
    common.ImagePositionPatient = [0, 0, 0]
    common.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    common.PixelSpacing = [1, 1]
    slices: list[Dataset] = []
    for instance in series.instances:
        slice_ = Dataset(dict(common.items()))  # Dataset(common) would share its dictionary
        slice_.SOPClassUID = instance.sop_class_uid
        slice_.SOPInstanceUID = instance.sop_instance_uid
        slices.append(slice_)
    return slices


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Keep rt-utils' prints, and its use of what pydicom 4 removes, to itself."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
