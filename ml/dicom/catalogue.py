"""What lies in a folder of DICOM files: one line of facts for every object, read without pixels."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from pydicom import uid

from ml.dicom.encoding import MalformedFileError, open_dataset, raw_text, raw_value, read_elements
from ml.dicom.files import SkipReason, SourceFile, find_skip_reason
from ml.dicom.header import CT_CLASSES
from ml.dicom.image_rules import SCOUT_WORDS
from ml.dicom.rtstruct_items import RTSTRUCT_CLASS

_KEYWORDS = (
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DicomObject:
    """One file; an empty text where it says nothing."""

    source: SourceFile
    sop_class_uid: str
    sop_instance_uid: str
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    is_scout: bool
    """A projection image by its Image Type."""

    @property
    def is_ct(self) -> bool:
        """Tell whether the object is of a CT image class."""
        return self.sop_class_uid in CT_CLASSES

    @property
    def is_structure_set(self) -> bool:
        """Tell whether the object holds contours."""
        return self.sop_class_uid == RTSTRUCT_CLASS


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """The DICOM objects among files, in order of file name."""

    objects: tuple[DicomObject, ...]
    unreadable: tuple[SourceFile, ...]
    """Files that should be DICOM and cannot be read as such."""
    not_dicom: int
    """Files that do not look like DICOM."""


def catalogue(files: Iterable[SourceFile]) -> Catalogue:
    """Read the heads of all files; nothing is refused."""
    objects: list[DicomObject] = []
    unreadable: list[SourceFile] = []
    not_dicom = 0
    for source in files:
        try:
            found = find_skip_reason(source) or _read_object(source)
        except MalformedFileError:
            unreadable.append(source)
            continue
        if isinstance(found, SkipReason):
            not_dicom += 1
        else:
            objects.append(found)
    return Catalogue(objects=tuple(objects), unreadable=tuple(unreadable), not_dicom=not_dicom)


def group_series(objects: Sequence[DicomObject]) -> dict[str, list[DicomObject]]:
    """Gather CT images by series; a series of projection images alone is left out."""
    groups: dict[str, list[DicomObject]] = {}
    for found in objects:
        if found.is_ct:
            groups.setdefault(found.series_instance_uid, []).append(found)
    return {key: group for key, group in groups.items() if not all(o.is_scout for o in group)}


def _read_object(source: SourceFile) -> DicomObject | SkipReason:
    stream, meta = open_dataset(source.path)
    with closing(stream):
        try:
            if raw_text(meta, "MediaStorageSOPClassUID") == (uid.MediaStorageDirectoryStorage,):
                return SkipReason.DICOMDIR
            dataset = read_elements(stream, raw_text(meta, "TransferSyntaxUID")[0], _KEYWORDS)
            texts = {keyword: raw_value(dataset, keyword) for keyword in _KEYWORDS}
        except ValueError as error:
            raise MalformedFileError(str(error)) from error
    # Latin-1 never fails; identifiers are compared and hashed, not shown
    words = {key: value.decode("latin-1").strip(" \0") for key, value in texts.items()}
    if not words["SOPClassUID"]:
        raise MalformedFileError("no SOP class")
    return DicomObject(
        source=source,
        sop_class_uid=words["SOPClassUID"],
        sop_instance_uid=words["SOPInstanceUID"],
        patient_id=words["PatientID"],
        study_instance_uid=words["StudyInstanceUID"],
        series_instance_uid=words["SeriesInstanceUID"],
        frame_of_reference_uid=words["FrameOfReferenceUID"],
        is_scout=bool(SCOUT_WORDS & {v.strip().upper() for v in words["ImageType"].split("\\")}),
    )
