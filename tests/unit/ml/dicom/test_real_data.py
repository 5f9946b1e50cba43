"""Odd files of real scanners and systems; skipped where they are not at hand."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.rtstruct_check import check_rtstruct
from ml.dicom.rtstruct_read import read_rtstruct
from ml.dicom.series import SkipReason, SourceFile, index_series, list_source_files, read_volume
from tests.factories.structures import hard_masks, write_masks

CHECKOUT = Path(__file__).parents[4]
REAL = Path(os.environ.get("CERVICONTOUR_REAL_DATA", CHECKOUT.parent / "shared" / "data"))
ODD = REAL / "odd"
Codes = DicomErrorCode

pytestmark = pytest.mark.skipif(not ODD.is_dir(), reason="the folder of real data is not there")


def unpacked(archive, folder):
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return list_source_files(folder)


def code_of(path):
    with pytest.raises(DicomError) as caught:
        index_series([SourceFile(path=path, name=path.name)])
    return caught.value.code


class TestOddFiles:
    @pytest.mark.parametrize(
        ("pattern", "code"),
        [
            ("enhanced_multiframe/*.dcm", Codes.MULTIFRAME_UNSUPPORTED),
            ("scout_and_sc/*_SC_*.dcm", Codes.NOT_CT),
            ("scout_and_sc/*scout*.dcm", Codes.LOCALIZER),
            ("geometry/orthanc_SignedCT.dcm", Codes.FRAME_OF_REFERENCE_MISSING),
            ("transfer_syntax/*Lossy*", Codes.LOSSY_COMPRESSION),
            ("transfer_syntax/*JPEG2000TransferSyntax*", Codes.LOSSY_COMPRESSION),
            ("transfer_syntax/*JPEGProcess[126]*4.5[0135]*", Codes.LOSSY_COMPRESSION),
            ("transfer_syntax/*Lossless*", Codes.SINGLE_SLICE),
            ("transfer_syntax/*Process14*", Codes.SINGLE_SLICE),
            ("transfer_syntax/*Endian*", Codes.SINGLE_SLICE),
        ],
    )
    def test_are_refused_by_their_code(self, pattern, code):
        paths = sorted(ODD.glob(pattern))
        assert paths
        assert {path.name: code_of(path) for path in paths} == {path.name: code for path in paths}

    @pytest.mark.parametrize("name", ["d2n_tilt_14deg", "d2n_missing_slice_5_10"])
    def test_series_without_frame_of_reference_are_refused(self, tmp_path, name):
        with pytest.raises(DicomError) as caught:
            index_series(unpacked(ODD / "geometry" / f"{name}.zip", tmp_path))
        assert caught.value.code is Codes.FRAME_OF_REFERENCE_MISSING

    def test_three_slices_feet_first_are_read(self):
        index = index_series(list_source_files(ODD / "geometry" / "dcmqi_FFS_3slices"))
        hu = read_volume(index).hu
        assert index.patient_position == "FFS"
        assert (hu.min(), hu.max()) == (-3024, 1381)


class TestRealSeries:
    def test_a_feet_first_abdomen_keeps_hard_masks(self, tmp_path):
        (archive,) = (REAL / "abdomen-crlm").glob("*.zip")
        series = index_series(unpacked(archive, tmp_path / "ct"))
        assert series.geometry.shape == (41, 512, 512)
        assert series.patient_position == "FFS"
        masks = hard_masks(series.geometry)
        chosen = {name: masks[name] for name in ("sphere", "small hole", "border")}
        write_masks(tmp_path / "rs.dcm", series, chosen)
        check_rtstruct(tmp_path / "rs.dcm", series)
        for name, mask in read_rtstruct(tmp_path / "rs.dcm", series).items():
            np.testing.assert_array_equal(mask, chosen[name])

    def test_an_imported_structure_set_with_dangling_references_is_placed(self, tmp_path):
        files = unpacked(REAL / "thigh-sts" / "STS_001.zip", tmp_path)
        series = index_series(files)
        (skipped,) = series.skipped
        assert skipped.reason is SkipReason.NOT_AN_IMAGE
        (path,) = (file.path for file in files if file.name == skipped.name)
        ((name, mask),) = read_rtstruct(path, series).items()
        assert name == "GTV_Mass_CT"
        volume_ml = mask.sum() * series.geometry.voxel_volume_ml
        inside = read_volume(series).hu[mask]
        assert volume_ml > 10
        assert -50 < np.median(inside) < 100  # a soft-tissue mass, if it lies where it should
