"""Small real DICOM CT series: every patient position, every encoding, every defect."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import gdcm
import numpy as np
from pydicom import dcmread, uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from ml.dicom.errors import DicomErrorCode

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """A series that must be refused."""

    code: DicomErrorCode
    make: Callable[[Path], None]
    """Writes the files into an empty folder."""
    offenders: frozenset[int] | None = frozenset({2})
    """Slices of the series whose instance UIDs the refusal names; None: not checked by number."""


def edited(edit: Edit, spec: CtSpec | None = None) -> Callable[[Path], None]:
    """Return a maker of a series whose slice 2 is edited."""

    def only_slice_2(ds: Dataset, number: int) -> None:
        if number == 2:
            edit(ds, number)

    return lambda folder: _ignore(write_ct(folder, spec, only_slice_2))


def setting(**values: object) -> Callable[[Path], None]:
    """Return a maker of a series whose slice 2 has other values; None removes an attribute."""

    def edit(ds: Dataset, number: int) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)

    return edited(edit)


def raw(keyword: str, value: bytes) -> Callable[[Path], None]:
    """Return a maker of a series whose slice 2 holds bytes that the attribute does not allow."""

    def edit(ds: Dataset, number: int) -> None:
        tag = tag_for_keyword(keyword)
        assert tag is not None
        ds[tag] = DataElement(tag, "OB", value)  # the reader goes by the tag, whatever the VR

    return edited(edit)


def of(spec: CtSpec) -> Callable[[Path], None]:
    return lambda folder: _ignore(write_ct(folder, spec))


def _ignore(_: object) -> None:
    """Drop a value, for makers that return none."""


def _truncate(folder: Path, left: int) -> None:
    path = write_ct(folder)[2]
    data = path.read_bytes()
    path.write_bytes(data[: left if left > 0 else len(data) + left])


def _truncate_fragment(folder: Path) -> None:
    path = write_ct(folder, CtSpec(transfer_syntax_uid=uid.JPEGLSLossless))[2]
    path.write_bytes(path.read_bytes()[:-40])


def _two_series(folder: Path) -> None:
    write_ct(folder, CtSpec(series=1))
    write_ct(folder, CtSpec(series=2, slices=3))


def _copy(folder: Path) -> None:
    path = write_ct(folder)[2]
    (folder / "COPY.dcm").write_bytes(path.read_bytes())


def _garbage(folder: Path) -> None:
    write_ct(folder)
    (folder / "broken.dcm").write_bytes(b"\x00" * 128 + b"DICM" + b"\xff" * 64)


def _only_text(folder: Path) -> None:
    (folder / "README.txt").write_text("no images here")


def _only_structure_set(folder: Path) -> None:
    save_dataset(make_structure_set_stub(), folder / "rs.dcm")


def make_structure_set_stub() -> Dataset:
    """Return a DICOM object without an image."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = uid.RTStructureSetStorage, "2.25.1001.7.1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "2.25.1001", "2.25.1001.7", "RTSTRUCT"
    return ds


TILTED = (1.0, 0.0, 0.0, 0.0, 0.96592583, -0.25881905)
OBLIQUE = (0.99254615, 0.12186934, 0.0, -0.12186934, 0.99254615, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
EVERY_SLICE = frozenset(range(5))
Codes = DicomErrorCode

DEFECTS: dict[str, Defect] = {
    "garbage": Defect(code=Codes.NOT_DICOM, make=_garbage, offenders=None),
    "only text": Defect(code=Codes.NOT_DICOM, make=_only_text, offenders=None),
    "only a structure set": Defect(code=Codes.NO_IMAGES, make=_only_structure_set, offenders=None),
    "an MR modality": Defect(code=Codes.NOT_CT, make=setting(Modality="MR")),
    "a secondary capture": Defect(
        code=Codes.NOT_CT, make=setting(SOPClassUID=uid.SecondaryCaptureImageStorage)
    ),
    "a localizer": Defect(
        code=Codes.LOCALIZER, make=setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    ),
    "a scout": Defect(
        code=Codes.LOCALIZER, make=setting(ImageType=["DERIVED", "PRIMARY", "AXIAL", "SCOUT"])
    ),
    "enhanced CT": Defect(
        code=Codes.MULTIFRAME_UNSUPPORTED, make=setting(SOPClassUID=uid.EnhancedCTImageStorage)
    ),
    "several frames": Defect(code=Codes.MULTIFRAME_UNSUPPORTED, make=setting(NumberOfFrames=3)),
    "said to be lossy": Defect(
        code=Codes.LOSSY_COMPRESSION, make=setting(LossyImageCompression="01")
    ),
    "pixels missing": Defect(code=Codes.PIXELS_MISSING, make=setting(PixelData=None)),
    "cut in the header": Defect(code=Codes.PIXELS_MISSING, make=lambda f: _truncate(f, 700)),
    "cut in the pixels": Defect(code=Codes.PIXELS_TRUNCATED, make=lambda f: _truncate(f, -10)),
    "cut in a fragment": Defect(code=Codes.PIXELS_TRUNCATED, make=_truncate_fragment),
    "too few pixels": Defect(code=Codes.PIXELS_TRUNCATED, make=setting(PixelData=b"\0" * 64)),
    "inverted": Defect(
        code=Codes.PIXEL_FORMAT_UNSUPPORTED,
        make=setting(PhotometricInterpretation="MONOCHROME1"),
    ),
    "colour": Defect(code=Codes.PIXEL_FORMAT_UNSUPPORTED, make=setting(SamplesPerPixel=3)),
    "32 bits": Defect(code=Codes.PIXEL_FORMAT_UNSUPPORTED, make=setting(BitsAllocated=32)),
    "shifted bits": Defect(
        code=Codes.PIXEL_FORMAT_UNSUPPORTED, make=setting(BitsStored=12, HighBit=14)
    ),
    "electron density": Defect(code=Codes.PIXEL_FORMAT_UNSUPPORTED, make=setting(RescaleType="ED")),
    "two series": Defect(code=Codes.SEVERAL_SERIES, make=_two_series, offenders=None),
    "two studies": Defect(code=Codes.SEVERAL_SERIES, make=setting(StudyInstanceUID="2.25.5")),
    "single slice": Defect(
        code=Codes.SINGLE_SLICE, make=of(CtSpec(slices=1)), offenders=frozenset({0})
    ),
    "no frame of reference": Defect(
        code=Codes.FRAME_OF_REFERENCE_MISSING, make=setting(FrameOfReferenceUID=None)
    ),
    "two frames of reference": Defect(
        code=Codes.SEVERAL_FRAMES_OF_REFERENCE, make=setting(FrameOfReferenceUID="2.25.6")
    ),
    "no position": Defect(code=Codes.POSITION_MISSING, make=setting(ImagePositionPatient=None)),
    "no orientation": Defect(
        code=Codes.ORIENTATION_MISSING, make=setting(ImageOrientationPatient=None)
    ),
    "no pixel spacing": Defect(code=Codes.PIXEL_SPACING_MISSING, make=setting(PixelSpacing=None)),
    "no rescale slope": Defect(code=Codes.RESCALE_MISSING, make=setting(RescaleSlope=None)),
    "no rescale intercept": Defect(code=Codes.RESCALE_MISSING, make=setting(RescaleIntercept=None)),
    "position no number": Defect(
        code=Codes.INVALID_VALUE, make=raw("ImagePositionPatient", b"nan\\1\\2")
    ),
    "position infinite": Defect(
        code=Codes.INVALID_VALUE, make=raw("ImagePositionPatient", b"1e999\\1\\2")
    ),
    "position of two values": Defect(
        code=Codes.INVALID_VALUE, make=raw("ImagePositionPatient", b"1.0\\2.0")
    ),
    "position beyond ASCII": Defect(
        code=Codes.INVALID_VALUE, make=raw("ImagePositionPatient", b"1\\2\\\xd93")
    ),
    "position absurd": Defect(
        code=Codes.INVALID_VALUE, make=setting(ImagePositionPatient=[0, 0, 1e9])
    ),
    "spacing zero": Defect(code=Codes.INVALID_VALUE, make=setting(PixelSpacing=[0, 2])),
    "spacing in micrometres": Defect(
        code=Codes.INVALID_VALUE, make=setting(PixelSpacing=[2000, 2000])
    ),
    "slope zero": Defect(code=Codes.INVALID_VALUE, make=setting(RescaleSlope=0)),
    "intercept absurd": Defect(code=Codes.INVALID_VALUE, make=setting(RescaleIntercept=1e9)),
    "directions not unit": Defect(
        code=Codes.INVALID_VALUE, make=setting(ImageOrientationPatient=[1, 0, 0, 0, 2, 0])
    ),
    "UID with a letter": Defect(code=Codes.INVALID_VALUE, make=raw("StudyInstanceUID", b"1.2.x")),
    "no rows": Defect(code=Codes.INVALID_VALUE, make=setting(Rows=0)),
    "rows empty": Defect(
        code=Codes.INVALID_VALUE, make=edited(lambda ds, _: ds.add_new("Rows", "US", None))
    ),
    "rows of four bytes": Defect(code=Codes.INVALID_VALUE, make=raw("Rows", b"\x18\0\0\0")),
    "mixed sizes": Defect(code=Codes.MIXED_SIZES, make=setting(Rows=12, Columns=40)),
    "mixed pixel spacings": Defect(
        code=Codes.MIXED_PIXEL_SPACINGS, make=setting(PixelSpacing=[2, 2.001])
    ),
    "mixed orientations": Defect(
        code=Codes.MIXED_ORIENTATIONS, make=setting(ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    ),
    "oblique": Defect(
        code=Codes.NOT_AXIAL, make=of(CtSpec(orientation=OBLIQUE)), offenders=EVERY_SLICE
    ),
    "sagittal": Defect(
        code=Codes.NOT_AXIAL, make=of(CtSpec(orientation=SAGITTAL)), offenders=EVERY_SLICE
    ),
    "tilted": Defect(
        code=Codes.GANTRY_TILT,
        make=of(CtSpec(orientation=TILTED, drift_mm=(0.0, 0.8, 0.0))),
        offenders=EVERY_SLICE,
    ),
    "sheared": Defect(
        code=Codes.GANTRY_TILT, make=of(CtSpec(drift_mm=(0.0, 0.1, 0.0))), offenders=EVERY_SLICE
    ),
    "said to be tilted": Defect(code=Codes.GANTRY_TILT, make=setting(GantryDetectorTilt=5)),
    "sent twice": Defect(code=Codes.DUPLICATE_SLICES, make=_copy, offenders=None),
    "two in one place": Defect(
        code=Codes.DUPLICATE_SLICES,
        make=of(CtSpec(offsets_mm=(0, 3, 6, 6, 9))),
        offenders=frozenset({2, 3}),
    ),
    "a slice missing": Defect(
        code=Codes.MISSING_SLICES,
        make=of(CtSpec(offsets_mm=(0, 3, 6, 12, 15))),
        offenders=frozenset({2, 3}),
    ),
    "uneven": Defect(
        code=Codes.IRREGULAR_SPACING,
        make=of(CtSpec(offsets_mm=(0, 3, 6, 11, 14))),
        offenders=frozenset({2, 3}),
    ),
    "uneven with a gap": Defect(
        code=Codes.IRREGULAR_SPACING,
        make=of(CtSpec(offsets_mm=(0, 3, 9, 12, 16.5))),
        offenders=frozenset({1, 2, 3, 4}),
    ),
}
"""By name, as test ids; transfer syntaxes have a table of their own."""


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
