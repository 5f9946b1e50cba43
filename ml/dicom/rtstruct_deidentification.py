"""A structure set as somebody edited it, without its patient: the same contours and references."""

from pathlib import Path

from pydicom import uid
from pydicom.dataset import Dataset

from ml.dicom.deidentification import encode_file, meta_information, patient_pseudonym
from ml.dicom.encoding import raw_text, raw_value
from ml.dicom.protected_attributes import (
    Schema,
    always,
    empty,
    filtered,
    mapped,
    needed_numbers,
    numbers,
    only,
    only_one,
    put_raw,
    say_deidentified,
)
from ml.dicom.rtstruct_items import (
    RTSTRUCT_CLASS,
    as_text,
    invalid_rtstruct,
    items,
    open_structure_set,
    refusing_damage,
)
from ml.pseudonyms import Pseudonyms
from ml.structures import CERVIX

LABEL = "DEIDENTIFIED"

_ENCODING = (True, True)
_EMPTY = (
    "AccessionNumber",
    "Manufacturer",
    "OperatorsName",
    "PatientBirthDate",
    "PatientSex",
    "PositionReferenceIndicator",
    "ReferringPhysicianName",
    "SeriesNumber",
    "StructureSetDate",
    "StructureSetTime",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
"""Type 2 of the RT Structure Set."""
_INTERPRETED_TYPES = (
    *("AVOIDANCE", "BOLUS", "CAVITY", "CONTRAST_AGENT", "CONTROL", "CTV", "DOSE_REGION"),
    *("EXTERNAL", "FIXATION", "GTV", "IRRAD_VOLUME", "ISOCENTER", "MARKER", "ORGAN", "PTV"),
    *("REGISTRATION", "SUPPORT", "TREATED_VOLUME"),
)
_GEOMETRIC_TYPES = (
    *("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR", "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"),
)
"""PS3.3 C.8.8.6 and C.8.8.8."""
_SEQUENCE_UIDS = ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID")


def deidentify_structure_set(path: Path, pseudonyms: Pseudonyms) -> bytes:
    """Return a structure set without its patient, as a file in implicit VR.

    Contours are kept byte for byte, or the file is refused. Names of regions are kept where they
    mean a structure that the service knows, in its own spelling where they need more than ASCII;
    any other one becomes a keyed digest, the same for the same name.

    Raises:
        DicomError: RTSTRUCT_INVALID, for anything that is no readable structure set, and for
            numbers of regions or contours that are none.
    """
    source = open_structure_set(path)
    with refusing_damage():
        (study_uid, *_) = raw_text(source, "StudyInstanceUID") or ("",)
        patient_id = as_text(raw_value(source, "PatientID"))
        patient = patient_pseudonym(pseudonyms, patient_id, study_uid)
        _spell_known_names(source)
        dataset = filtered(source, _schema(pseudonyms, patient), _ENCODING)
        (instance_uid, *_) = raw_text(dataset, "SOPInstanceUID") or ("",)
    if not instance_uid:
        raise invalid_rtstruct(["there is no SOP Instance UID"])
    say_deidentified(dataset, _ENCODING)
    meta = meta_information(RTSTRUCT_CLASS, instance_uid, uid.ImplicitVRLittleEndian)
    return encode_file(meta, dataset)


def _schema(pseudonyms: Pseudonyms, patient: str) -> Schema:
    new_uid = mapped(pseudonyms.uid)
    image: Schema = dict.fromkeys(_SEQUENCE_UIDS, new_uid)  # class UIDs are the standard's: kept
    series: Schema = {"SeriesInstanceUID": new_uid, "ContourImageSequence": image}
    study: Schema = {**image, "RTReferencedSeriesSequence": series}
    contour: Schema = {
        "ContourImageSequence": image,
        "ContourGeometricType": only_one(*_GEOMETRIC_TYPES),
        "ContourNumber": numbers,
        "NumberOfContourPoints": needed_numbers,
        "ContourData": needed_numbers,
    }
    return {
        **dict.fromkeys(_EMPTY, empty),
        "SOPClassUID": always(RTSTRUCT_CLASS),
        "SOPInstanceUID": new_uid,
        "Modality": always("RTSTRUCT"),
        "PatientName": always(patient),
        "PatientID": always(patient),
        "StudyInstanceUID": new_uid,
        "SeriesInstanceUID": new_uid,
        "FrameOfReferenceUID": new_uid,
        "StructureSetLabel": always(LABEL),
        "ApprovalStatus": only("UNAPPROVED", "APPROVED", "REJECTED"),
        "ReferencedFrameOfReferenceSequence": {
            "FrameOfReferenceUID": new_uid,
            "RTReferencedStudySequence": study,
        },
        "StructureSetROISequence": {
            "ROINumber": needed_numbers,
            "ReferencedFrameOfReferenceUID": new_uid,
            "ROIName": mapped(lambda name: _region_name(name, pseudonyms)),
            "ROIGenerationAlgorithm": only("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"),
        },
        "ROIContourSequence": {
            "ROIDisplayColor": numbers,
            "ReferencedROINumber": needed_numbers,
            "ContourSequence": contour,
        },
        "RTROIObservationsSequence": {
            "ObservationNumber": numbers,
            "ReferencedROINumber": numbers,
            "RTROIInterpretedType": only(*_INTERPRETED_TYPES),
            "ROIInterpreter": empty,
        },
    }


def _spell_known_names(source: Dataset) -> None:
    """Give regions that mean a known structure its name where theirs is not in ASCII."""
    for region in items(source, "StructureSetROISequence"):
        sent = raw_value(region, "ROIName")
        if not sent.isascii():
            known = CERVIX.find(str(region.get("ROIName", "")))  # in the file's character set
            put_raw(region, "ROIName", known.name.encode() if known else sent, _ENCODING)


def _region_name(name: str, pseudonyms: Pseudonyms) -> str:
    if name.isascii() and CERVIX.find(name):
        return name
    return f"region-{pseudonyms.digest('region', name)}"
