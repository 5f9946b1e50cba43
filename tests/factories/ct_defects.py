"""CT series that must be refused, each with the code it is refused by."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from ml.dicom.errors import DicomErrorCode
from tests.factories.ct import CtSpec, Edit, make_structure_set_stub, save_dataset, write_ct


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
