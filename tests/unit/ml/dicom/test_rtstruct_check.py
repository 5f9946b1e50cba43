import copy

import pytest
from pydicom import dcmread, uid
from pydicom.sequence import Sequence

from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.rtstruct_check import check_rtstruct
from ml.dicom.series import index_series, list_source_files
from tests.factories import ct
from tests.factories.structures import hard_masks, write_masks


@pytest.fixture
def series(tmp_path):
    ct.write_ct(tmp_path / "ct", ct.CtSpec(rows=40, columns=44))
    return index_series(list_source_files(tmp_path / "ct"))


@pytest.fixture
def path(series, tmp_path):
    masks = hard_masks(series.geometry)
    write_masks(tmp_path / "rs.dcm", series, {n: masks[n] for n in ("sphere", "tube", "border")})
    return tmp_path / "rs.dcm"


def first_contour(ds):
    return ds.ROIContourSequence[0].ContourSequence[0]


def image_of(ds):
    return first_contour(ds).ContourImageSequence[0]


def listed(ds):
    (frame,) = ds.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    return study.RTReferencedSeriesSequence[0]


def drop(keyword):
    return lambda ds: delattr(ds, keyword)


def put(keyword, value):
    return lambda ds: setattr(ds, keyword, value)


def in_(pick, change):
    return lambda ds: change(pick(ds))


def move(index, by):
    def change(ds):
        item = first_contour(ds)
        values = [float(value) for value in item.ContourData]
        values[index::3] = [round(value + by, 3) for value in values[index::3]]
        item.ContourData = values

    return change


def duplicate(keyword):
    return lambda ds: getattr(ds, keyword).append(copy.deepcopy(getattr(ds, keyword)[0]))


def region(ds):
    return ds.StructureSetROISequence[0]


def contours(ds):
    return ds.ROIContourSequence[0]


def observation(ds):
    return ds.RTROIObservationsSequence[0]


MUTATIONS = {
    "approved": (put("ApprovalStatus", "APPROVED"), "UNAPPROVED"),
    "other modality": (put("Modality", "RTPLAN"), "Modality"),
    "other study": (put("StudyInstanceUID", "2.25.5"), "another study"),
    "the images' series": (put("SeriesInstanceUID", "2.25.1001.1"), "series of the images"),
    "other frame": (put("FrameOfReferenceUID", "2.25.5"), "frame of reference"),
    "no label": (put("StructureSetLabel", ""), "StructureSetLabel is missing"),
    "no software": (drop("SoftwareVersions"), "SoftwareVersions is missing"),
    "type 2 missing": (drop("OperatorsName"), "OperatorsName is missing"),
    "meta of another class": (
        in_(lambda ds: ds.file_meta, put("MediaStorageSOPClassUID", uid.CTImageStorage)),
        "another SOP class",
    ),
    "meta of another instance": (
        in_(lambda ds: ds.file_meta, put("MediaStorageSOPInstanceUID", uid.UID("2.25.5"))),
        "another instance",
    ),
    "frame reference": (
        in_(lambda ds: ds.ReferencedFrameOfReferenceSequence[0], put("FrameOfReferenceUID", "2.5")),
        "referenced frame of reference",
    ),
    "study reference": (
        in_(
            lambda ds: ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0],
            put("ReferencedSOPInstanceUID", "2.5"),
        ),
        "referenced study",
    ),
    "series reference": (in_(listed, put("SeriesInstanceUID", "2.5")), "referenced series"),
    "an image not listed": (lambda ds: listed(ds).ContourImageSequence.pop(), "exactly those"),
    "no region": (put("StructureSetROISequence", Sequence()), "no region"),
    "a region twice": (duplicate("StructureSetROISequence"), "share a number"),
    "no name": (in_(region, put("ROIName", "")), "no region name"),
    "a lost character": (in_(region, put("ROIName", "M?ller")), "no region name"),
    "region in another frame": (
        in_(region, put("ReferencedFrameOfReferenceUID", "2.5")),
        "lies in another frame",
    ),
    "drawn by hand": (in_(region, put("ROIGenerationAlgorithm", "MANUAL")), "AUTOMATIC"),
    "a lost observation": (
        lambda ds: ds.RTROIObservationsSequence.pop(),
        "regions and observations do not match",
    ),
    "an observation number twice": (
        in_(observation, put("ObservationNumber", 2)),
        "two observations share",
    ),
    "no interpreter": (in_(observation, drop("ROIInterpreter")), "lacks an interpreted type"),
    "lost contours": (lambda ds: ds.ROIContourSequence.pop(), "their contours do not match"),
    "no colour": (in_(contours, drop("ROIDisplayColor")), "no valid colour"),
    "a wrong colour": (in_(contours, put("ROIDisplayColor", [1, 2, 300])), "no valid colour"),
    "no contour in the sequence": (
        in_(contours, put("ContourSequence", Sequence())),
        "empty Contour Sequence",
    ),
    "an open contour": (
        in_(first_contour, put("ContourGeometricType", "OPEN_PLANAR")),
        "not closed and planar",
    ),
    "two points": (in_(first_contour, put("ContourData", [0, 0, 0, 1, 1, 1])), "encloses nothing"),
    "a wrong count": (in_(first_contour, put("NumberOfContourPoints", 4)), "declares 4"),
    "an unknown image": (in_(image_of, put("ReferencedSOPInstanceUID", "2.5")), "one image"),
    "no image": (in_(first_contour, drop("ContourImageSequence")), "one image"),
    "the next slice's image": (
        in_(image_of, put("ReferencedSOPInstanceUID", "2.25.1001.1.5")),
        "off the plane",
    ),
    "off the plane": (move(2, 0.6), "off the plane"),
    "outside the image": (move(0, 300), "leaves its image"),
    "a tuple too short": (in_(first_contour, put("ContourData", [1, 2, 3, 4])), "damaged content"),
}


class TestCheckRtstruct:
    def test_passes_what_was_written(self, path, series):
        check_rtstruct(path, series)

    @pytest.mark.parametrize(("change", "problem"), MUTATIONS.values(), ids=list(MUTATIONS))
    def test_finds_every_mutation(self, path, series, change, problem):
        ds = dcmread(path)
        change(ds)
        ds.save_as(path)
        with pytest.raises(DicomError) as caught:
            check_rtstruct(path, series)
        assert caught.value.code is DicomErrorCode.RTSTRUCT_INVALID
        problems = caught.value.facts.get("problems")
        assert isinstance(problems, list)
        assert any(problem in found for found in problems)

    @pytest.mark.parametrize("digits", [14, 17])
    def test_finds_values_longer_than_a_decimal_string(self, path, series, digits):
        ds = dcmread(path)
        item = first_contour(ds)
        text = "\\".join(f"{float(value):.{digits}f}" for value in item.ContourData)
        item["ContourData"].VR = "UT"  # implicit VR: only the bytes reach the file
        item["ContourData"].value = text
        ds.save_as(path)
        with pytest.raises(DicomError, match="longer than DICOM allows"):
            check_rtstruct(path, series)

    @pytest.mark.parametrize(
        ("value", "problem"), [("nan", "damaged content"), ("1e999", "encloses nothing")]
    )
    def test_finds_values_that_are_no_numbers(self, path, series, value, problem):
        ds = dcmread(path)
        item = first_contour(ds)
        text = "\\".join([value, *map(str, item.ContourData[1:])])
        item["ContourData"].VR = "UT"
        item["ContourData"].value = text
        ds.save_as(path)
        with pytest.raises(DicomError, match=problem):
            check_rtstruct(path, series)

    def test_a_file_that_is_none_is_refused(self, path, series):
        for content in (b"", b"text", path.read_bytes()[:300]):
            path.write_bytes(content)
            with pytest.raises(DicomError) as caught:
                check_rtstruct(path, series)
            assert caught.value.code is DicomErrorCode.RTSTRUCT_INVALID

    def test_an_image_is_no_structure_set(self, series):
        with pytest.raises(DicomError, match="no RT Structure Set"):
            check_rtstruct(series.instances[0].path, series)

    def test_counts_what_it_does_not_list(self, path, series):
        ds = dcmread(path)
        for roi in ds.ROIContourSequence:
            for item in roi.ContourSequence:
                item.NumberOfContourPoints = 3
        ds.save_as(path)
        with pytest.raises(DicomError) as caught:
            check_rtstruct(path, series)
        facts = caught.value.facts
        assert isinstance(facts["problems"], list)
        assert len(facts["problems"]) == 20
        assert facts["problem_count"] == sum(
            len(roi.ContourSequence) for roi in ds.ROIContourSequence
        )


def test_a_series_of_another_scan_does_not_fit(path, tmp_path):
    ct.write_ct(tmp_path / "other", ct.CtSpec(rows=40, columns=44, series=2))
    other = index_series(list_source_files(tmp_path / "other"))
    with pytest.raises(DicomError, match="referenced series is another"):
        check_rtstruct(path, other)
