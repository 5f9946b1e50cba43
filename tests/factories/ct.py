"""Small real DICOM CT series: every patient position and every encoding."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import gdcm
import numpy as np
from pydicom import dcmread, uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

ORIENTATIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "HFDR": (0, -1, 0, 1, 0, 0),
    "HFDL": (0, 1, 0, -1, 0, 0),
    "FFDR": (0, -1, 0, -1, 0, 0),
    "FFDL": (0, 1, 0, 1, 0, 0),
}
"""Image Orientation (Patient) as a scanner stores each Patient Position."""

NATIVE_SYNTAXES = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
COMPRESSED_SYNTAXES = (
    uid.RLELossless,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
)

Edit = Callable[[Dataset, int], None]
"""Changes the data set of one slice before it is written; slices count from 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CtSpec:
    slices: int = 5
    rows: int = 24
    columns: int = 20
    pixel_spacing_mm: tuple[float, float] = (2.0, 2.0)
    slice_spacing_mm: float = 3.0
    patient_position: str = "HFS"
    orientation: tuple[float, ...] | None = None
    """Instead of the patient position's own."""
    centre_mm: tuple[float, float, float] = (3.75, -171.25, -412.5)
    """Off zero in every direction, so that a lost sign shows."""
    offsets_mm: tuple[float, ...] = field(default=())
    """Of every slice along the normal, instead of even spacing."""
    drift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Sideways step from slice to slice."""
    transfer_syntax_uid: str = uid.ExplicitVRLittleEndian
    is_signed: bool = False
    series: int = 1
    """Series of one study share nothing but the frame of reference."""
    character_set: str | None = "ISO_IR 100"
    patient_name: str = "Phantom^Eva"

    @property
    def directions(self) -> np.ndarray:
        orientation = self.orientation or ORIENTATIONS[self.patient_position]
        return np.array(orientation, np.float64).reshape(2, 3)

    @property
    def positions_mm(self) -> np.ndarray:
        """Centre of the first pixel of every slice, ascending along the normal."""
        row, column = self.directions
        corner = (
            np.array(self.centre_mm)
            - row * self.pixel_spacing_mm[1] * (self.columns - 1) / 2
            - column * self.pixel_spacing_mm[0] * (self.rows - 1) / 2
        )
        steps = np.array(self.offsets_mm or np.arange(self.slices) * self.slice_spacing_mm)
        sideways = np.outer(np.arange(len(steps)), self.drift_mm)
        return corner + np.outer(steps - steps.mean(), np.cross(row, column)) + sideways

    @property
    def hu(self) -> np.ndarray:
        """Hounsfield units that differ in every voxel's neighbourhood and between all axes."""
        z, y, x = np.ogrid[: len(self.positions_mm), : self.rows, : self.columns]
        return (-1000 + 37 * x + 11 * y + 3 * z + (x * y) % 7).astype(np.int16)


def slice_uid(spec: CtSpec, number: int) -> str:
    return f"2.25.1001.{spec.series}.{number + 1}"


def make_slice(spec: CtSpec, number: int) -> Dataset:
    """Return one slice with every type 1 and type 2 attribute of CT Image Storage."""
    ds = Dataset()
    if spec.character_set is not None:
        ds.SpecificCharacterSet = spec.character_set
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID = uid.CTImageStorage, slice_uid(spec, number)
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260102"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101500"
    ds.AccessionNumber, ds.Modality, ds.Manufacturer = "ACC1", "CT", "Phantoms"
    ds.ReferringPhysicianName, ds.StudyDescription = "Referrer^Anna", "RT planning"
    ds.PatientName, ds.PatientID = spec.patient_name, "P-0001"
    ds.PatientBirthDate, ds.PatientSex = "19600229", "F"
    ds.BodyPartExamined = "PELVIS"
    ds.SliceThickness, ds.KVP = spec.slice_spacing_mm, "120"
    ds.PatientPosition = spec.patient_position
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "2.25.1001", f"2.25.1001.{spec.series}"
    ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber = "1", str(spec.series), "1"
    ds.InstanceNumber = str(number + 1)
    ds.ImagePositionPatient = [f"{value:.6g}" for value in spec.positions_mm[number]]
    ds.ImageOrientationPatient = [f"{value:.8g}" for value in spec.directions.ravel()]
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = "2.25.1001.99", ""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = spec.rows, spec.columns
    ds.PixelSpacing = list(spec.pixel_spacing_mm)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(spec.is_signed)
    intercept = 0 if spec.is_signed else -1024
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = intercept, 1, "HU"
    stored = (spec.hu[number].astype(np.int32) - intercept).astype(np.uint16)
    is_big = spec.transfer_syntax_uid == uid.ExplicitVRBigEndian
    ds.PixelData = stored.astype(">u2" if is_big else "<u2").tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def write_ct(folder: Path, spec: CtSpec | None = None, edit: Edit | None = None) -> list[Path]:
    """Write a series in shuffled order of names; return the files in order of the slices."""
    spec = spec or CtSpec()
    folder.mkdir(parents=True, exist_ok=True)
    count = len(spec.positions_mm)
    names = np.random.default_rng(spec.series).permutation(count)
    paths = [folder / f"CT.{spec.series}.{names[number]:04d}.dcm" for number in range(count)]
    for number, path in enumerate(paths):
        ds = make_slice(spec, number)
        if edit is not None:
            edit(ds, number)
        save_dataset(ds, path, spec.transfer_syntax_uid)
    return paths


def save_dataset(ds: Dataset, path: Path, syntax: str = uid.ExplicitVRLittleEndian) -> None:
    """Write a DICOM file; compressed syntaxes are transcoded by GDCM."""
    is_native = syntax in NATIVE_SYNTAXES
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = uid.UID(syntax if is_native else uid.ExplicitVRLittleEndian)
    ds.save_as(path, enforce_file_format=True)
    if not is_native:
        transcode(path, syntax)


def transcode(path: Path, syntax: str) -> None:
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def make_structure_set_stub() -> Dataset:
    """Return a DICOM object without an image."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = uid.RTStructureSetStorage, "2.25.1001.7.1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "2.25.1001", "2.25.1001.7", "RTSTRUCT"
    return ds


def write_declared_syntax(folder: Path, syntax: str, **values: object) -> None:
    """Write a series whose slice 2 is, by its headers, compressed in any syntax."""
    path = write_ct(folder)[2]
    ds = dcmread(path)
    ds.PixelData = encapsulate([b"\xff\xd8 no codestream \xff\xd9"])
    ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = uid.UID(syntax)
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.save_as(path, enforce_file_format=True)
