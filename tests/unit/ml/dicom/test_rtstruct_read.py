import copy

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.rtstruct_read import read_rtstruct
from ml.dicom.series import index_series, list_source_files
from tests.factories import ct
from tests.factories.structures import hard_masks, write_masks


@pytest.fixture
def series(tmp_path):
    ct.write_ct(tmp_path / "ct", ct.CtSpec(rows=40, columns=44))
    return index_series(list_source_files(tmp_path / "ct"))


@pytest.fixture
def masks(series):
    return {name: hard_masks(series.geometry)[name] for name in ("nested", "sphere")}


@pytest.fixture
def path(series, masks, tmp_path):
    write_masks(tmp_path / "rs.dcm", series, masks)
    return tmp_path / "rs.dcm"


def edit(path, change):
    ds = dcmread(path)
    for roi in ds.ROIContourSequence:
        for item in roi.ContourSequence:
            change(item)
    ds.save_as(path)


def lift(item, by):
    values = [float(value) for value in item.ContourData]
    values[2::3] = [round(value + by, 3) for value in values[2::3]]
    item.ContourData = values


class TestReadRtstruct:
    def test_reads_what_was_written(self, path, series, masks):
        seen = read_rtstruct(path, series)
        assert set(seen) == set(masks)
        for name, mask in masks.items():
            np.testing.assert_array_equal(seen[name], mask)

    def test_finds_slices_by_their_plane_where_no_image_is_referenced(self, path, series, masks):
        edit(path, lambda item: delattr(item, "ContourImageSequence"))
        np.testing.assert_array_equal(read_rtstruct(path, series)["sphere"], masks["sphere"])

    def test_finds_slices_by_their_plane_where_references_dangle(self, path, series, masks):
        def dangle(item):
            item.ContourImageSequence[0].ReferencedSOPInstanceUID = "2.25.4"

        edit(path, dangle)
        np.testing.assert_array_equal(read_rtstruct(path, series)["nested"], masks["nested"])

    def test_planes_may_be_a_little_off(self, path, series, masks):
        edit(path, lambda item: (delattr(item, "ContourImageSequence"), lift(item, 0.7)))
        np.testing.assert_array_equal(read_rtstruct(path, series)["nested"], masks["nested"])

    def test_what_lies_beyond_the_series_is_left_out(self, path, series, masks):
        edit(path, lambda item: (delattr(item, "ContourImageSequence"), lift(item, 6)))
        seen = read_rtstruct(path, series)["nested"]
        np.testing.assert_array_equal(seen[2:], masks["nested"][:-2])
        assert not seen[:2].any()

    def test_of_two_planes_on_one_slice_the_nearer_counts(self, path, series, masks):
        ds = dcmread(path)
        sequence = ds.ROIContourSequence[0].ContourSequence
        for item in list(sequence):
            between = Dataset()
            between.ContourGeometricType = "CLOSED_PLANAR"
            between.NumberOfContourPoints = item.NumberOfContourPoints
            between.ContourData = item.ContourData
            lift(between, 1.2)
            sequence.append(between)
        ds.save_as(path)
        np.testing.assert_array_equal(read_rtstruct(path, series)["nested"], masks["nested"])

    def test_islands_a_rounding_apart_are_of_one_plane(self, path, series, masks):
        ds = dcmread(path)
        for roi in ds.ROIContourSequence:
            for item in roi.ContourSequence[1::2]:
                lift(item, 0.08)
        ds.save_as(path)
        np.testing.assert_array_equal(read_rtstruct(path, series)["nested"], masks["nested"])

    def test_planes_on_both_sides_of_a_slice_do_not_cancel_each_other(self, path, series, masks):
        ds = dcmread(path)
        for roi in ds.ROIContourSequence:
            for item in list(roi.ContourSequence):
                twin = copy.deepcopy(item)
                lift(item, 0.7)
                lift(twin, -0.7)
                roi.ContourSequence.append(twin)
        ds.save_as(path)
        np.testing.assert_array_equal(read_rtstruct(path, series)["nested"], masks["nested"])

    def test_points_and_open_lines_enclose_nothing(self, path, series):
        ds = dcmread(path)
        ds.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "OPEN_PLANAR"
        point = ds.ROIContourSequence[1].ContourSequence[0]
        point.ContourGeometricType, point.ContourData = "POINT", [1, 2, 3]
        point.NumberOfContourPoints = 1
        ds.ROIContourSequence[1].ContourSequence = Sequence([point])
        ds.save_as(path)
        seen = read_rtstruct(path, series)
        assert not seen["sphere"].any()
        assert seen["nested"].any()

    def test_regions_without_contours_are_empty(self, path, series):
        ds = dcmread(path)
        del ds.ROIContourSequence[0].ContourSequence
        del ds.ROIContourSequence[1]
        ds.save_as(path)
        assert [mask.any() for mask in read_rtstruct(path, series).values()] == [False, False]

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda ds: setattr(ds.StructureSetROISequence[0], "ROIName", "sphere"), "share"),
            (lambda ds: setattr(ds.StructureSetROISequence[0], "ROINumber", 2), "share"),
            (
                lambda ds: setattr(
                    ds.StructureSetROISequence[0], "ReferencedFrameOfReferenceUID", "2.25.3"
                ),
                "another frame of reference",
            ),
            (
                lambda ds: setattr(
                    ds.ROIContourSequence[0].ContourSequence[0],
                    "ContourData",
                    [0, 0, 0, 9, 9, 9, 0, 9, 4],
                ),
                "not in plane",
            ),
            (
                lambda ds: setattr(
                    ds.ROIContourSequence[0].ContourSequence[0],
                    "ContourData",
                    ["1e308", 0, 0, "-1e308", 9, 0, 5, 5, 0],
                ),
                "far off any patient",
            ),
            (
                lambda ds: setattr(
                    ds.ROIContourSequence[0].ContourSequence[0], "ContourData", [1, 2, 3, 4]
                ),
                "damaged",
            ),
        ],
    )
    def test_refuses_what_it_cannot_place(self, path, series, change, problem):
        ds = dcmread(path)
        change(ds)
        ds.save_as(path)
        with pytest.raises(DicomError, match=problem) as caught:
            read_rtstruct(path, series)
        assert caught.value.code is DicomErrorCode.RTSTRUCT_INVALID

    def test_refuses_contours_that_would_take_minutes(self, path, series, monkeypatch):
        monkeypatch.setattr("ml.dicom.rtstruct_read.MAX_CROSSINGS", 100)
        with pytest.raises(DicomError, match="more than 100 rows") as caught:
            read_rtstruct(path, series)
        assert caught.value.code is DicomErrorCode.RTSTRUCT_INVALID
