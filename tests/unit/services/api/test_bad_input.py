"""Every way to send something wrong: its status, its code, whom it names, and nothing left."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, EnhancedCTImageStorage, MRImageStorage, RTStructureSetStorage

from ml.dicom.errors import DicomErrorCode as Code
from services.api.uploads.errors import UploadErrorCode as Bad
from tests.factories.api import MEBIBYTE, Api
from tests.factories.uploads import FORM, SERIES_UID, make_form, make_series, make_zip, slice_uid

pytestmark = pytest.mark.anyio
ZIP = "application/zip"
JPEG_BASELINE, MPEG2 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.100"


def setting(**values: object) -> Callable[[Dataset], None]:
    """Give attributes these values; None removes them."""

    def change(dataset: Dataset) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return change


def tilted(dataset: Dataset) -> None:
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, float(y) + float(z) * 0.3, z]


def raised(dataset: Dataset) -> None:
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y, float(z) + 1]


def without_image(dataset: Dataset) -> None:
    setting(SOPClassUID=RTStructureSetStorage, Modality="RTSTRUCT", PixelData=None, Rows=None)(
        dataset
    )
    dataset.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage


def encapsulated(syntax: str) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        fragment = b"\xff\xd8\xff\xd9"
        item = b"\xfe\xff\x00\xe0"
        end = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
        empty = (0).to_bytes(4, "little")
        length = len(fragment).to_bytes(4, "little")
        dataset.PixelData = item + empty + item + length + fragment + end
        dataset["PixelData"].is_undefined_length = True

    return change


def second(change: Callable[[Dataset], None]) -> dict[str, bytes]:
    return make_series(changes={2: change})


def without_second(count: int) -> dict[str, bytes]:
    files = make_series(count)
    del files["IM0002"]
    return files


def sagittal(dataset: Dataset) -> None:
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [z, x, y]
    dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


ALL = ("IM0001", "IM0002", "IM0003")
SECOND = ("IM0002",)

Files = dict[str, bytes]

DICOM_CASES: list[tuple[Code, Files, tuple[str, ...]]] = [
    (Code.NOT_DICOM, {"a.dcm": b"junk" * 99}, ("a.dcm",)),
    (Code.NOT_DICOM, {"a.txt": b"hello"}, ("a.txt",)),
    (Code.NOT_DICOM, make_series() | {"x.dcm": make_series()["IM0001"][:100]}, ("x.dcm",)),
    (Code.NO_IMAGES, make_series(1, every=without_image), ("IM0001",)),
    (Code.NOT_CT, make_series(every=setting(SOPClassUID=MRImageStorage, Modality="MR")), ALL),
    (Code.LOCALIZER, second(setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])), SECOND),
    (
        Code.MULTIFRAME_UNSUPPORTED,
        second(setting(SOPClassUID=EnhancedCTImageStorage, NumberOfFrames=1)),
        SECOND,
    ),
    (Code.LOSSY_COMPRESSION, second(encapsulated(JPEG_BASELINE)), SECOND),
    (Code.TRANSFER_SYNTAX_UNSUPPORTED, second(encapsulated(MPEG2)), SECOND),
    (Code.PIXELS_MISSING, second(setting(PixelData=None)), SECOND),
    (Code.PIXELS_TRUNCATED, second(setting(PixelData=bytes(16))), SECOND),
    (
        Code.PIXEL_FORMAT_UNSUPPORTED,
        second(setting(PhotometricInterpretation="RGB", SamplesPerPixel=3)),
        SECOND,
    ),
    (Code.SEVERAL_SERIES, second(setting(SeriesInstanceUID=f"{SERIES_UID}.99")), ()),
    (Code.SINGLE_SLICE, make_series(1), ("IM0001",)),
    (Code.FRAME_OF_REFERENCE_MISSING, second(setting(FrameOfReferenceUID=None)), SECOND),
    (Code.SEVERAL_FRAMES_OF_REFERENCE, second(setting(FrameOfReferenceUID="1.2.3")), ()),
    (Code.POSITION_MISSING, second(setting(ImagePositionPatient=None)), SECOND),
    (Code.ORIENTATION_MISSING, second(setting(ImageOrientationPatient=None)), SECOND),
    (Code.PIXEL_SPACING_MISSING, second(setting(PixelSpacing=None)), SECOND),
    (Code.RESCALE_MISSING, second(setting(RescaleSlope=None)), SECOND),
    (Code.INVALID_VALUE, second(setting(PixelSpacing=[0, 1])), SECOND),
    (Code.MIXED_SIZES, second(setting(Rows=8, PixelData=bytes(256))), SECOND),
    (Code.MIXED_PIXEL_SPACINGS, second(setting(PixelSpacing=[2, 1])), SECOND),
    (Code.MIXED_ORIENTATIONS, second(setting(ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])), SECOND),
    (Code.NOT_AXIAL, make_series(every=sagittal), ALL),
    (Code.GANTRY_TILT, make_series(every=tilted), ALL),
    (
        Code.DUPLICATE_SLICES,
        make_series() | {"again": second(setting(SOPInstanceUID=slice_uid(9)))["IM0002"]},
        (),
    ),
    (Code.MISSING_SLICES, without_second(6), ()),
    (Code.IRREGULAR_SPACING, make_series(6, changes={3: raised}), ()),
]


@dataclass(frozen=True)
class BadBody:
    """A request body that is refused before any DICOM rule is asked."""

    code: Bad
    status: int
    content_type: str
    body: bytes
    file_names: tuple[str, ...] = ()


def encrypted() -> bytes:
    content = bytearray(make_zip({"a": b"x"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


CT = make_series()
FIELD = make_form({"x": b"y"}).replace(b'; filename="x"', b"")
BOMB = make_zip({"bomb": bytes(3 * MEBIBYTE)})
BODIES = [
    BadBody(Bad.EMPTY_UPLOAD, 422, ZIP, b""),
    BadBody(Bad.EMPTY_UPLOAD, 422, ZIP, make_zip({})),
    BadBody(Bad.EMPTY_UPLOAD, 422, FORM, make_form({})),
    BadBody(Bad.UNSUPPORTED_MEDIA_TYPE, 415, "text/plain", b"x"),
    BadBody(Bad.UNSUPPORTED_MEDIA_TYPE, 415, "", b"x"),
    BadBody(Bad.MALFORMED_MULTIPART, 400, FORM, make_form(CT)[:-9]),
    BadBody(Bad.MALFORMED_MULTIPART, 400, FORM, make_form(CT)[:1200]),
    BadBody(Bad.MALFORMED_MULTIPART, 400, "multipart/form-data", b"x"),
    BadBody(Bad.UNEXPECTED_FORM_FIELD, 422, FORM, FIELD),
    BadBody(Bad.TOO_MANY_BYTES, 413, FORM, make_form({"a": bytes(5 * MEBIBYTE)})),
    BadBody(Bad.TOO_MANY_BYTES, 413, FORM, make_form({"a": bytes(MEBIBYTE + 1)}), ("a",)),
    BadBody(Bad.TOO_MANY_FILES, 413, FORM, make_form({str(i): b"x" for i in range(21)})),
    BadBody(Bad.TOO_MANY_FILES, 413, ZIP, make_zip({str(i): b"x" for i in range(21)})),
    BadBody(Bad.NOT_A_ZIP, 422, ZIP, b"hello"),
    BadBody(Bad.NOT_A_ZIP, 422, FORM, make_form({"ct.zip": b"hello"}), ("ct.zip",)),
    BadBody(Bad.DAMAGED_ARCHIVE, 422, ZIP, make_zip(CT)[:-40]),
    BadBody(Bad.DAMAGED_ARCHIVE, 422, FORM, make_form({"ct.zip": make_zip(CT)[:-40]}), ("ct.zip",)),
    BadBody(Bad.UNSUPPORTED_ARCHIVE, 422, ZIP, make_zip(CT, 14), ("IM0001",)),
    BadBody(Bad.ENCRYPTED_ARCHIVE, 422, ZIP, encrypted(), ("a",)),
    BadBody(Bad.ZIP_BOMB, 413, ZIP, BOMB),
    BadBody(Bad.ZIP_BOMB, 413, FORM, make_form({"ct.zip": BOMB}), ("ct.zip",)),
    BadBody(Bad.PATH_TRAVERSAL, 422, ZIP, make_zip({**CT, "../x": b"y"}), ("../x",)),
    BadBody(Bad.PATH_TRAVERSAL, 422, FORM, make_form({"../x": b"y"}), ("../x",)),
]


def test_every_code_has_a_case() -> None:
    elsewhere = {
        Code.RTSTRUCT_INVALID,  # the worker's, never a sender's
        Code.BURNED_IN_ANNOTATION,  # of de-identification: see test_deidentification.py
    }
    assert {code for code, *_ in DICOM_CASES} == set(Code) - elsewhere
    slow = {Bad.UPLOAD_STALLED}  # no body, but the way it comes: see uploads/test_pace.py
    assert {body.code for body in BODIES} == set(Bad) - slow


@pytest.mark.parametrize("route", ["/v1/series", "/v1/autocontour"])
@pytest.mark.parametrize(
    ("code", "files", "offenders"),
    DICOM_CASES,
    ids=[str(case[0]) for case in DICOM_CASES],
)
async def test_unusable_series_are_refused(
    api: Api, route: str, code: Code, files: Files, offenders: tuple[str, ...]
) -> None:
    response = await api.client.post(
        route, content=make_form(files), headers={"Content-Type": FORM}
    )
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, code.value), problem
    named = problem["context"].get("file_names", [])
    assert named, "the offenders are named"
    if offenders:
        assert sorted(named) == sorted(offenders)
    if code not in (Code.NOT_DICOM, Code.NO_IMAGES):
        assert problem["context"]["sop_instance_uids"]
    assert "DOE" not in response.text
    assert api.is_empty()
    assert not api.queue.messages


@pytest.mark.parametrize("route", ["/v1/series", "/v1/autocontour"])
@pytest.mark.parametrize("bad", BODIES, ids=[str(body.code) for body in BODIES])
async def test_unusable_bodies_are_refused(api: Api, route: str, bad: BadBody) -> None:
    response = await api.client.post(
        route, content=bad.body, headers={"Content-Type": bad.content_type}
    )
    problem = response.json()
    assert (response.status_code, problem["code"]) == (bad.status, bad.code.value), problem
    if bad.file_names:
        assert problem["context"]["file_names"] == list(bad.file_names)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert problem["status"] == response.status_code
    assert problem["instance"] == route
    assert problem["correlation_id"] == response.headers["X-Correlation-ID"]
    assert api.is_empty()
    assert not api.queue.messages


async def test_zip_and_form_are_judged_alike(api: Api) -> None:
    files = make_series(1)
    by_zip = await api.client.post(
        "/v1/series", content=make_zip(files), headers={"Content-Type": ZIP}
    )
    assert by_zip.json()["code"] == "single_slice"


async def test_shown_names_are_short_and_printable(api: Api) -> None:
    name = "\x1b[31m" + "n" * 500 + ".dcm"
    response = await api.client.post(
        "/v1/series", content=make_zip({name: b"junk" * 99}), headers={"Content-Type": ZIP}
    )
    (shown,) = response.json()["context"]["file_names"]
    assert shown.isprintable()
    assert len(shown) == 120
    assert shown.endswith("nnn.dcm")
