"""Writing a volume as a DICOM CT series that passes the validation of a hospital's.

Reference: PS3.3 A.3 (CT Image IOD); every type 1 and type 2 attribute of its mandatory modules.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from ml.arrays import HuSlice
from ml.geometry import Volume, VolumeGeometry
from ml.phantom.orientation import PatientPosition, RowOrder, reorient_volume

RESCALE_INTERCEPT = -1024
IMPLEMENTATION_CLASS_UID = "2.25.173184902395028374650192837465019283746"
DATE = "20260102"
"""Fixed, so that equal volumes give equal files."""
DECIMAL_STRING_BYTES = 16
"""Longest decimal string, PS3.5 6.2."""


class TransferSyntax(StrEnum):
    """How a written series is encoded."""

    EXPLICIT_LITTLE_ENDIAN = "explicit"
    IMPLICIT_LITTLE_ENDIAN = "implicit"
    DEFLATED = "deflated"
    RLE = "rle"

    @property
    def uid(self) -> UID:
        """The transfer syntax UID."""
        return {
            TransferSyntax.EXPLICIT_LITTLE_ENDIAN: ExplicitVRLittleEndian,
            TransferSyntax.IMPLICIT_LITTLE_ENDIAN: ImplicitVRLittleEndian,
            TransferSyntax.DEFLATED: DeflatedExplicitVRLittleEndian,
            TransferSyntax.RLE: RLELossless,
        }[self]


@dataclass(frozen=True, kw_only=True, slots=True)
class CtOptions:
    """Who the series says it shows, and how it is stored."""

    identity: str = "phantom"
    """All UIDs derive from this text and from the orientation: equal texts, equal UIDs."""
    patient_name: str = "PHANTOM"
    patient_id: str = "PHANTOM"
    position: PatientPosition = PatientPosition.HFS
    row_order: RowOrder = RowOrder.NATIVE
    transfer_syntax: TransferSyntax = TransferSyntax.EXPLICIT_LITTLE_ENDIAN
    series_description: str = "Synthetic pelvic CT"


def write_ct_series(volume: Volume, folder: Path, options: CtOptions | None = None) -> list[Path]:
    """Write one file a slice, ascending along the series' normal, every voxel at its own place.

    Returns:
        The files in the order of the slices.

    Raises:
        NotAxialError: the volume does not lie along the patient's axes.
        FileExistsError: the folder already holds files.
    """
    options = options or CtOptions()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    stored = reorient_volume(volume, options.position, options.row_order)
    paths = []
    for index, hu in enumerate(stored.hu):
        dataset = _dataset(stored.geometry, index, options)
        _set_pixels(dataset, hu)
        path = folder / f"{index + 1:05d}.dcm"
        _save(dataset, path, options.transfer_syntax)
        paths.append(path)
    return paths


def derived_uid(*parts: str) -> str:
    """Return the UID that belongs to a text, PS3.5 B.2."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def _dataset(geometry: VolumeGeometry, index: int, options: CtOptions) -> Dataset:
    dataset = Dataset()
    _set_patient_and_study(dataset, options)
    _set_series_and_equipment(dataset, geometry, options)
    _set_image(dataset, geometry, index, options)
    return dataset


def _set_patient_and_study(dataset: Dataset, options: CtOptions) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = options.patient_name
    dataset.PatientID = options.patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "F"
    dataset.StudyInstanceUID = derived_uid(options.identity, "study")
    dataset.StudyDate = DATE
    dataset.StudyTime = "101000"
    dataset.ReferringPhysicianName = ""
    dataset.StudyID = "1"
    dataset.AccessionNumber = ""
    dataset.StudyDescription = "Synthetic data, not a patient"


def _set_series_and_equipment(
    dataset: Dataset, geometry: VolumeGeometry, options: CtOptions
) -> None:
    orientation = (options.position.value, options.row_order.value)
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = derived_uid(options.identity, "series", *orientation)
    dataset.SeriesNumber = "1"
    dataset.SeriesDate = DATE
    dataset.SeriesTime = "101200"
    dataset.SeriesDescription = options.series_description
    dataset.BodyPartExamined = "PELVIS"
    dataset.PatientPosition = options.position.value
    # Positions are patient coordinates, which turning the patient on the couch does not change.
    dataset.FrameOfReferenceUID = derived_uid(options.identity, "frame")
    dataset.PositionReferenceIndicator = ""
    dataset.Manufacturer = "CerviContour"
    dataset.ManufacturerModelName = "Phantom"
    dataset.DeviceSerialNumber = "1"
    dataset.SoftwareVersions = "1"
    dataset.KVP = "120"
    dataset.SliceThickness = _decimal(geometry.slice_spacing_mm)
    dataset.ReconstructionDiameter = _decimal(geometry.extent_mm[2])
    dataset.GantryDetectorTilt = "0"
    dataset.ConvolutionKernel = "B30"


def _set_image(dataset: Dataset, geometry: VolumeGeometry, index: int, options: CtOptions) -> None:
    orientation = (options.position.value, options.row_order.value)
    position = geometry.slice_positions_mm[index]
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = derived_uid(options.identity, "image", *orientation, str(index))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.AcquisitionDate = dataset.ContentDate = DATE
    dataset.AcquisitionTime = dataset.ContentTime = "101300"
    dataset.AcquisitionNumber = "1"
    dataset.InstanceNumber = str(index + 1)
    dataset.ImagePositionPatient = [_decimal(v) for v in position]
    directions = (*geometry.row_direction, *geometry.column_direction)
    dataset.ImageOrientationPatient = [_decimal(v) for v in directions]
    dataset.PixelSpacing = [_decimal(v) for v in geometry.pixel_spacing_mm]
    dataset.SliceLocation = _decimal(float(position @ geometry.normal))
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = geometry.rows
    dataset.Columns = geometry.columns
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept = str(RESCALE_INTERCEPT)
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "HU"
    dataset.WindowCenter = "50"
    dataset.WindowWidth = "400"


def _set_pixels(dataset: Dataset, hu: HuSlice) -> None:
    stored = np.clip(hu.astype(np.int32) - RESCALE_INTERCEPT, 0, 4095).astype("<u2")
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"


def _save(dataset: Dataset, path: Path, transfer_syntax: TransferSyntax) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    if transfer_syntax is TransferSyntax.RLE:
        dataset.compress(RLELossless, generate_instance_uid=False)
    else:
        meta.TransferSyntaxUID = transfer_syntax.uid
    dataset.save_as(path, enforce_file_format=True)


def _decimal(value: float) -> str:
    """Return the most digits that fit a decimal string."""
    plain = float(value) + 0.0  # -0.0 would be written with its sign
    candidates = (f"{plain:.{digits}g}" for digits in range(12, 3, -1))
    return next(text for text in candidates if len(text) <= DECIMAL_STRING_BYTES)
