import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as confidentiality
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import config, dcmread, uid
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from ml.dicom.deidentification import deidentify_series
from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.rtstruct_deidentification import deidentify_structure_set
from ml.dicom.rtstruct_import import draw_regions, read_structure_set_header
from ml.dicom.series import SeriesIndex, index_series, list_source_files
from ml.pseudonyms import Pseudonyms
from tests.factories import ct
from tests.factories.structures import box_masks, write_masks

KEYED = Pseudonyms(key=b"k" * 32)
MARKER = "ZQXMARKER"
KEPT_IN_SEQUENCES = {"ReferencedFrameOfReferenceSequence", "StructureSetROISequence"}


@pytest.fixture
def series(tmp_path: Path) -> SeriesIndex:
    ct.write_ct(tmp_path / "ct")
    return index_series(list_source_files(tmp_path / "ct"))


@pytest.fixture
def masks(series: SeriesIndex) -> dict[str, np.ndarray]:
    first, second = box_masks(series.geometry).values()
    return {"Bladder": first, f"{MARKER} tumour": second}


@pytest.fixture
def edited(tmp_path: Path, series: SeriesIndex, masks: dict[str, np.ndarray]) -> Path:
    """A structure set as a planning system writes it, with names and notes in every corner."""
    path = tmp_path / "edited.dcm"
    write_masks(path, series, masks)
    ds = dcmread(path)
    ds.StructureSetLabel = ds.StructureSetName = ds.SeriesDescription = MARKER
    ds.PatientName = ds.OperatorsName = ds.ReviewerName = ds.PatientID = MARKER
    ds.SoftwareVersions = ds.Manufacturer = ds.StationName = MARKER
    ds.private_block(0x0011, "VENDOR", create=True).add_new(1, "LO", MARKER)
    for region, observation in zip(
        ds.StructureSetROISequence, ds.RTROIObservationsSequence, strict=True
    ):
        region.ROIDescription = region.ROIGenerationDescription = MARKER
        observation.ROIInterpreter = observation.ROIObservationLabel = MARKER
        observation.RTROIInterpretedType = MARKER
    for roi in ds.ROIContourSequence:
        roi.private_block(0x0011, "VENDOR", create=True).add_new(1, "LO", MARKER)
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def stored(tmp_path: Path, series: SeriesIndex) -> SeriesIndex:
    (tmp_path / "stored").mkdir()
    paths = [tmp_path / "stored" / f"{i:05d}.dcm" for i in range(len(series.instances))]
    return deidentify_series(series, paths, KEYED)


def test_nothing_of_the_patient_is_left(tmp_path, edited):
    content = deidentify_structure_set(edited, KEYED)
    assert MARKER.encode() not in content
    (tmp_path / "out.dcm").write_bytes(content)
    ds = dcmread(tmp_path / "out.dcm")
    assert ds.PatientID == KEYED.patient(MARKER)
    assert ds.PatientIdentityRemoved == "YES"
    for row in confidentiality.X_TAGS:
        assert (row[0], row[1]) not in ds
    for row in confidentiality.Z_TAGS:
        tag = (row[0], row[1])
        assert tag not in ds or tag == (0x0010, 0x0010) or not ds[tag].value


def test_the_contours_are_those_that_were_sent_on_the_stored_series(
    tmp_path, edited, series, stored, masks
):
    path = tmp_path / "out.dcm"
    path.write_bytes(deidentify_structure_set(edited, KEYED))
    header = read_structure_set_header(path)
    assert header.series_instance_uids == (stored.series_instance_uid,)
    assert header.frame_of_reference_uids == (stored.frame_of_reference_uid,)
    assert header.study_instance_uid == stored.study_instance_uid
    ours = draw_regions(path, [1, 2], stored)
    theirs = draw_regions(edited, [1, 2], series)
    for number in (1, 2):
        assert np.array_equal(ours[number].mask, theirs[number].mask)
        assert ours[number].orphans == theirs[number].orphans == 0
    before, after = dcmread(edited), dcmread(path)
    for mine, original in zip(after.ROIContourSequence, before.ROIContourSequence, strict=True):
        for ring, sent in zip(mine.ContourSequence, original.ContourSequence, strict=True):
            assert ring.get_item("ContourData").value == sent.get_item("ContourData").value


def test_known_names_stay_and_others_become_digests(tmp_path, edited):
    path = tmp_path / "out.dcm"
    path.write_bytes(deidentify_structure_set(edited, KEYED))
    names = [region.name for region in read_structure_set_header(path).regions]
    assert names == ["Bladder", f"region-{KEYED.digest('region', f'{MARKER} tumour')}"]


def test_the_file_of_another_encoding_comes_out_the_same(tmp_path, edited):
    expected = deidentify_structure_set(edited, KEYED)
    ds = dcmread(edited)
    ds.decode()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.save_as(edited, enforce_file_format=True)
    assert deidentify_structure_set(edited, KEYED) == expected


def test_anything_else_is_refused(tmp_path):
    path = tmp_path / "ct.dcm"
    ct.save_dataset(ct.make_slice(ct.CtSpec(), 0), path)
    with pytest.raises(DicomError) as caught:
        deidentify_structure_set(path, KEYED)
    assert caught.value.code is DicomErrorCode.RTSTRUCT_INVALID


@pytest.mark.parametrize("damage", ["no instance", "a sequence that is none"])
def test_damaged_ones_are_refused(tmp_path, damage):
    ds = ct.make_structure_set_stub()
    ds.ROIContourSequence = []
    path = tmp_path / "stub.dcm"
    ct.save_dataset(ds, path, uid.ImplicitVRLittleEndian)
    if damage == "no instance":
        path.write_bytes(path.read_bytes().replace(b"\x08\0\x18\0", b"\x08\0\x19\0"))
    else:
        item = Dataset()
        item.ROIName = "x"
        ds.StructureSetROISequence = [item]
        ct.save_dataset(ds, path, uid.ImplicitVRLittleEndian)
        content = path.read_bytes()
        start = content.index(b"\x06\x30\x20\x00") + 8
        path.write_bytes(content[:start] + b"\xff" * (len(content) - start))
    with pytest.raises(DicomError) as caught:
        deidentify_structure_set(path, KEYED)
    assert caught.value.code is DicomErrorCode.RTSTRUCT_INVALID


class Pair:
    """A CT as it was sent and as it is stored, and a structure set of it to be spoilt."""

    def __init__(self, folder: Path) -> None:
        ct.write_ct(folder / "ct")
        self.sent = index_series(list_source_files(folder / "ct"))
        (folder / "stored").mkdir()
        paths = [folder / "stored" / f"{i:05d}.dcm" for i in range(len(self.sent.instances))]
        self.stored = deidentify_series(self.sent, paths, KEYED)
        self.whole, self.spoilt = folder / "whole.dcm", folder / "spoilt.dcm"
        left, right = box_masks(self.sent.geometry).values()
        write_masks(self.whole, self.sent, {"Bladder": left, "Rectum": right})
        self.kept = folder / "kept.dcm"

    def spoil(self, change: Callable[[Dataset], None]) -> None:
        dataset = dcmread(self.whole)
        with warnings.catch_warnings(), pytest.MonkeyPatch.context() as lenient:
            warnings.simplefilter("ignore")  # pydicom's, about values out of form
            lenient.setattr(config.settings, "writing_validation_mode", config.IGNORE)
            change(dataset)
            dataset.save_as(self.spoilt, enforce_file_format=True)

    def verdicts(self) -> tuple[object, object]:
        """Return what is read of the spoilt file as it was sent, and of what is kept of it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _verdict(lambda: self.spoilt, self.sent), _verdict(self._keep, self.stored)

    def _keep(self) -> Path:
        self.kept.write_bytes(deidentify_structure_set(self.spoilt, KEYED))
        return self.kept


def _verdict(path: Callable[[], Path], series: SeriesIndex) -> object:
    try:
        where = path()
        regions = read_structure_set_header(where).regions
        drawn = draw_regions(where, [region.number for region in regions], series)
    except DicomError as error:
        return error.code
    return [
        (
            region.number,
            region.contour_count,
            mask.mask.tobytes(),
            (mask.orphans, mask.beyond_ends, mask.beyond_edges, mask.without_area),
        )
        for region, mask in zip(regions, drawn.values(), strict=True)
    ]


def put(dataset: Dataset, keyword: str, change: Callable[[bytes], bytes]) -> None:
    tag = Tag(keyword)
    value = dataset.get_item(tag).value
    value = value if isinstance(value, bytes) else str(value).encode()
    value = change(value)
    value += b" " * (len(value) % 2)
    dataset[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, True, True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("pair"))


class TestSameVerdict:
    """The way a series is stored decides nothing about its contours."""

    PLACES = ("ContourData", "NumberOfContourPoints", "ContourGeometricType", "ContourNumber")

    @given(
        keyword=st.sampled_from([*PLACES, "ReferencedSOPInstanceUID"]),
        contour=st.integers(0, 2),
        place=st.integers(0, 60),
        removed=st.integers(0, 12),
        added=st.sampled_from(
            [b"", b" ", b"\n", b"\t", b",", b"nan", b"-inf", b"_", b"\\", b"\0", b"x", b"e", b"1"]
        ),
    )
    @settings(deadline=None, max_examples=150)
    def test_a_spoilt_value_is_read_alike_or_refused_alike(
        self, pair, keyword, contour, place, removed, added
    ):
        def change(dataset: Dataset) -> None:
            item = dataset.ROIContourSequence[0].ContourSequence[contour]
            if keyword == "ContourNumber":
                item.ContourNumber = 1
            owner = item.ContourImageSequence[0] if keyword.startswith("Ref") else item
            put(owner, keyword, lambda v: v[:place] + added + v[place + removed :])

        pair.spoil(change)

        plain, kept = pair.verdicts()

        assert plain == kept

    @pytest.mark.parametrize(
        ("keyword", "value", "is_read"),
        [
            ("ContourData", lambda v: v + b"\n", True),
            ("ContourData", lambda v: v.replace(b".", b",", 1), False),
            ("ContourData", lambda v: b"nan" + v[v.index(b"\\") :], False),
            ("ContourData", lambda v: b"1_0" + v[v.index(b"\\") :], False),
            ("ContourData", lambda _: b"", False),
            ("NumberOfContourPoints", lambda _: b"3", False),
            ("NumberOfContourPoints", lambda _: b"many", False),
            ("NumberOfContourPoints", lambda v: v.strip() + b".0", True),
            ("NumberOfContourPoints", lambda v: v.strip() + b".5", False),
            ("NumberOfContourPoints", lambda _: b"", True),
            ("ContourGeometricType", lambda v: b" " + v, True),
            ("ContourGeometricType", lambda v: v.strip() + b"\\POINT", True),
            ("ContourGeometricType", lambda _: b"POLYGON", True),
        ],
    )
    def test_no_contour_is_lost_without_a_word(self, pair, keyword, value, is_read):
        pair.spoil(lambda d: put(d.ROIContourSequence[0].ContourSequence[1], keyword, value))

        plain, kept = pair.verdicts()

        assert plain == kept
        assert (plain != DicomErrorCode.RTSTRUCT_INVALID) == is_read
        if is_read:
            _, contour_count, mask, (*_, without_area) = plain[0]
            assert contour_count + without_area == 3
            assert without_area or mask.count(1) == 90

    @pytest.mark.parametrize("keyword", ["ContourData", "NumberOfContourPoints"])
    def test_a_sequence_where_numbers_belong_is_refused(self, pair, keyword):
        def change(dataset: Dataset) -> None:
            item = dataset.ROIContourSequence[0].ContourSequence[1]
            item[keyword] = DataElement(keyword, "SQ", Sequence([Dataset()]))

        pair.spoil(lambda d: (_explicit(d), change(d)))

        assert pair.verdicts() == (DicomErrorCode.RTSTRUCT_INVALID,) * 2

    @pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "short"])
    def test_contours_that_enclose_nothing_are_counted(self, pair, kind):
        def change(dataset: Dataset) -> None:
            item = dataset.ROIContourSequence[0].ContourSequence[1]
            if kind == "short":
                put(item, "ContourData", lambda v: b"\\".join(v.split(b"\\")[:6]))
                put(item, "NumberOfContourPoints", lambda _: b"2")
            else:
                item.ContourGeometricType = kind

        pair.spoil(change)

        plain, kept = pair.verdicts()

        assert plain == kept
        assert plain[0][3] == (0, 0, 0, 1)
        assert plain[0][2].count(1) == 60

    @pytest.mark.parametrize(
        ("charset", "name"),
        [
            ("ISO_IR 100", "Bladder\xb0"),
            ("ISO_IR 192", "bladder\xb0"),
            ("ISO_IR 192", "\uff22ladder"),
        ],
    )
    def test_a_known_name_beyond_ascii_is_kept_in_the_service_s_spelling(self, pair, charset, name):
        def change(dataset: Dataset) -> None:
            dataset.SpecificCharacterSet = charset
            dataset.StructureSetROISequence[0].ROIName = name
            dataset.StructureSetROISequence[1].ROIName = f"{name} of somebody"

        pair.spoil(change)
        path = pair._keep()

        first, second = read_structure_set_header(path).regions
        assert first.name == "Bladder"
        assert second.name.startswith("region-")


def _explicit(dataset: Dataset) -> None:
    dataset.decode()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
