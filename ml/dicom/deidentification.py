"""A CT series without its patient: the same pixels and geometry under keyed pseudonyms.

Follows the Basic Application Level Confidentiality Profile of PS3.15 annex E without its options:
no patient or device characteristics, dates, descriptors or private elements are kept.
"""

import struct
import zlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.tag import Tag

from ml.dicom.encoding import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION,
    NATIVE_SYNTAXES,
    PIXEL_DATA,
    UNDEFINED_LENGTH,
    open_dataset,
    raw_text,
    raw_value,
    read_elements,
)
from ml.dicom.errors import DicomErrorCode
from ml.dicom.files import MAGIC, MAGIC_OFFSET, SourceFile
from ml.dicom.header import ImageHeader
from ml.dicom.image_rules import HU_TYPES, SCOUT_WORDS, refusal
from ml.dicom.protected_attributes import (
    Schema,
    always,
    as_text,
    empty,
    filtered,
    mapped,
    numbers,
    one_short,
    only,
    say_deidentified,
)
from ml.dicom.series import SeriesIndex, index_series, reread_header
from ml.pseudonyms import Pseudonyms

_NUMBERS = (
    "GantryDetectorTilt",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "InstanceNumber",
    "KVP",
    "NumberOfFrames",
    "PixelSpacing",
    "ReconstructionDiameter",
    "RescaleIntercept",
    "RescaleSlope",
    "SliceLocation",
    "SliceThickness",
    "SpacingBetweenSlices",
    "WindowCenter",
    "WindowWidth",
)
_SHORTS = (
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "HighBit",
    "PixelPaddingRangeLimit",
    "PixelPaddingValue",
    "PixelRepresentation",
    "Rows",
    "SamplesPerPixel",
)
_UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_EMPTY = (
    "AccessionNumber",
    "AcquisitionNumber",
    "Manufacturer",
    "PatientBirthDate",
    "PatientSex",
    "PositionReferenceIndicator",
    "ReferringPhysicianName",
    "SeriesNumber",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
"""Type 2 of the CT Image: present without a value."""
_PATIENT_POSITIONS = (
    *("HFS", "HFP", "HFDR", "HFDL", "FFS", "FFP", "FFDR", "FFDL"),
    *("LFP", "LFS", "RFP", "RFS", "AFDR", "AFDL", "PFDR", "PFDL"),
)
"""PS3.3 C.7.3.1.1.2."""

_OVERLAY_BIT_POSITIONS = tuple(f"60{group:02X}0102" for group in range(0, 0x20, 2))
"""Of all overlays. An overlay with a bit position lies in the unused bits of the pixels."""


def deidentify_series(
    series: SeriesIndex, paths: Sequence[Path], pseudonyms: Pseudonyms
) -> SeriesIndex:
    """Write the slices of a series without their patient; return what was written, indexed anew.

    paths: one for each instance, in order, in a folder that holds nothing else yet.

    Raises:
        DicomError: BURNED_IN_ANNOTATION, with every image that says so; or a slice that was
            changed since the series was indexed.
    """
    headers = [reread_header(series, instance) for instance in series.instances]
    offenders = [header for header in headers if _has_text_in_pixels(header)]
    if offenders:
        message = "images have text in their pixels, which de-identification cannot remove"
        raise refusal(DicomErrorCode.BURNED_IN_ANNOTATION, message, offenders)
    schema = _schema(pseudonyms, _patient(headers[0], pseudonyms))
    for header, path in zip(headers, paths, strict=True):
        path.write_bytes(_deidentified(header, schema))
    written = index_series([SourceFile(path=path, name=path.name) for path in paths])
    return replace(written, skipped=series.skipped)


def encode_file(meta: FileMetaDataset, dataset: Dataset, pixels: bytes = b"") -> bytes:
    """Return a DICOM file of an encoded data set; pixels: their whole element."""
    syntax = meta.TransferSyntaxUID
    head, body = DicomBytesIO(), DicomBytesIO()
    head.write(bytes(MAGIC_OFFSET) + MAGIC)
    write_file_meta_info(head, meta)
    body.is_implicit_VR, body.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
    write_dataset(body, dataset)
    content = body.getvalue() + pixels
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        content = deflater.compress(content) + deflater.flush()
        content += bytes(len(content) % 2)  # PS3.5 A.5
    return head.getvalue() + content


def meta_information(sop_class_uid: str, sop_instance_uid: str, syntax: str) -> FileMetaDataset:
    """Return the file meta information of an object that this program writes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = uid.UID(sop_instance_uid)
    meta.TransferSyntaxUID = uid.UID(syntax)
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    return meta


def patient_pseudonym(pseudonyms: Pseudonyms, patient_id: str, study_instance_uid: str) -> str:
    """Name a patient; one without an id is known by the study, as in datasets."""
    return pseudonyms.patient(patient_id or study_instance_uid)


def _has_text_in_pixels(header: ImageHeader) -> bool:
    keywords = ("BurnedInAnnotation", *_OVERLAY_BIT_POSITIONS)
    dataset = _read(header, keywords)
    if raw_value(dataset, "BurnedInAnnotation").strip(b" \0") == b"YES":
        return True
    positions = (dataset.get_item(Tag(tag)) for tag in _OVERLAY_BIT_POSITIONS if tag in dataset)
    return any(any(position.value or b"") for position in positions)


def _read(header: ImageHeader, keywords: Sequence[str]) -> Dataset:
    stream, _ = open_dataset(header.source.path)
    with closing(stream):
        return read_elements(stream, header.transfer_syntax_uid, tuple(keywords))


def _deidentified(header: ImageHeader, schema: Schema) -> bytes:
    syntax = uid.UID(header.transfer_syntax_uid)
    encoding = (syntax.is_implicit_VR, syntax.is_little_endian)
    dataset = filtered(_read(header, tuple(schema)), schema, encoding)
    say_deidentified(dataset, encoding)
    (instance_uid,) = raw_text(dataset, "SOPInstanceUID")
    meta = meta_information(header.sop_class_uid, instance_uid, syntax)
    return encode_file(meta, dataset, _pixel_element(header))


def _pixel_element(header: ImageHeader) -> bytes:
    """Return the pixel element with the very bytes of the source, without what follows them."""
    syntax = uid.UID(header.transfer_syntax_uid)
    offset, length = _extent(header)
    stream, _ = open_dataset(header.source.path)
    with closing(stream):
        stream.seek(offset - 8)
        vr = stream.read(2)  # of explicit VR; two zeros and the length lie between it and the value
        stream.seek(offset)
        value = stream.read(length)
    padding = bytes(length % 2)
    declared = length + len(padding) if syntax in NATIVE_SYNTAXES else UNDEFINED_LENGTH
    order = "<" if syntax.is_little_endian else ">"
    tag = struct.pack(order + "HH", PIXEL_DATA >> 16, PIXEL_DATA & 0xFFFF)
    form = b"" if syntax.is_implicit_VR else vr + b"\0\0"
    return tag + form + struct.pack(order + "I", declared) + value + padding


def _extent(header: ImageHeader) -> tuple[int, int]:
    """Return where the pixels of a checked image begin and how long they are."""
    pixels = header.pixels
    return (pixels.offset, pixels.length or 0) if pixels else (0, 0)


def _patient(header: ImageHeader, pseudonyms: Pseudonyms) -> str:
    value = raw_value(_read(header, ("PatientID",)), "PatientID")
    return patient_pseudonym(pseudonyms, as_text(value), header.study_instance_uid)


def _schema(pseudonyms: Pseudonyms, patient: str) -> Schema:
    new_uid = mapped(pseudonyms.uid)
    return {
        **dict.fromkeys(_NUMBERS, numbers),
        **dict.fromkeys(_SHORTS, one_short),
        **dict.fromkeys(_EMPTY, empty),
        **dict.fromkeys(_UIDS, new_uid),
        "SOPClassUID": always(uid.CTImageStorage),
        "Modality": always("CT"),
        "ImageType": only("ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "AXIAL", *SCOUT_WORDS),
        "PatientName": always(patient),
        "PatientID": always(patient),
        "BodyPartExamined": only("ABDOMEN", "ABDOMENPELVIS", "CHEST", "PELVIS", "WHOLEBODY"),
        "PatientPosition": only(*_PATIENT_POSITIONS),
        "PhotometricInterpretation": always("MONOCHROME2"),
        "RescaleType": only(*HU_TYPES),
        "LossyImageCompression": only("00"),
        "BurnedInAnnotation": only("NO"),
    }
