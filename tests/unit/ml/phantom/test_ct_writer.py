import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from pydicom import config
from pydicom.multival import MultiValue
from pydicom.uid import UID

from ml.geometry import LEFT, POSTERIOR, Volume, VolumeGeometry
from ml.phantom.ct_writer import CtOptions, TransferSyntax, derived_uid, write_ct_series
from ml.phantom.orientation import PatientPosition, RowOrder


@pytest.fixture(autouse=True)
def strict_writing(monkeypatch):
    monkeypatch.setattr(config.settings, "writing_validation_mode", config.RAISE)


@pytest.fixture
def volume():
    positions = np.tile([-3.25, -181.1, 0.0], (4, 1))
    positions[:, 2] = -412.5 + 2.5 * np.arange(4)
    geometry = VolumeGeometry(
        rows=6,
        columns=8,
        pixel_spacing_mm=(500 / 512, 1.171875),
        row_direction=LEFT,
        column_direction=POSTERIOR,
        slice_positions_mm=positions,
    )
    values = np.random.default_rng(1).permutation(4 * 6 * 8).reshape(4, 6, 8) - 100
    return Volume(hu=values.astype(np.int16), geometry=geometry)


def read_places(paths):
    """Millimetres of every voxel ordered by its value, by the attributes of PS3.3 C.7.6.2."""
    values, points = [], []
    for path in paths:
        image = pydicom.dcmread(path)
        row, column = np.split(np.array(image.ImageOrientationPatient, float), 2)
        between_rows, between_columns = map(float, image.PixelSpacing)
        r, c = np.indices((image.Rows, image.Columns))
        points.append(
            np.array(image.ImagePositionPatient, float)
            + c.reshape(-1, 1) * between_columns * row
            + r.reshape(-1, 1) * between_rows * column
        )
        slope, intercept = float(image.RescaleSlope), float(image.RescaleIntercept)
        values.append(image.pixel_array.astype(float).ravel() * slope + intercept)
    order = np.argsort(np.concatenate(values))
    return np.concatenate(values)[order], np.concatenate(points)[order]


@pytest.mark.parametrize("row_order", RowOrder)
@pytest.mark.parametrize("position", PatientPosition)
def test_every_voxel_keeps_value_and_place_in_any_position(volume, tmp_path, position, row_order):
    options = CtOptions(position=position, row_order=row_order)

    values, points = read_places(write_ct_series(volume, tmp_path, options))

    order = np.argsort(volume.hu.ravel())
    indices = np.argwhere(np.ones(volume.hu.shape, bool)).astype(float)
    np.testing.assert_array_equal(values, volume.hu.ravel()[order])
    np.testing.assert_allclose(points, volume.geometry.index_to_mm(indices)[order], atol=1e-6)


@pytest.mark.parametrize("syntax", TransferSyntax)
def test_every_transfer_syntax_holds_the_same_pixels(volume, tmp_path, syntax):
    paths = write_ct_series(volume, tmp_path, CtOptions(transfer_syntax=syntax))
    stored = [pydicom.dcmread(p) for p in paths]
    assert {d.file_meta.TransferSyntaxUID for d in stored} == {syntax.uid}
    hu = np.stack([d.pixel_array.astype(int) - 1024 for d in stored])
    np.testing.assert_array_equal(hu, volume.hu)


def test_equal_identities_give_equal_files(volume, tmp_path):
    one = write_ct_series(volume, tmp_path / "one")
    two = write_ct_series(volume, tmp_path / "two")
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]


def test_orientations_share_the_frame_but_are_series_of_their_own(volume, tmp_path):
    first = pydicom.dcmread(write_ct_series(volume, tmp_path / "a")[0])
    options = CtOptions(position=PatientPosition.FFP)
    second = pydicom.dcmread(write_ct_series(volume, tmp_path / "b", options)[0])
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert second.PatientPosition == "FFP"


def test_decimal_strings_fit_their_sixteen_bytes(volume, tmp_path):
    for path in write_ct_series(volume, tmp_path):
        for element in pydicom.dcmread(path):
            if element.VR == "DS" and element.value is not None:
                many = isinstance(element.value, MultiValue)
                texts = element.value if many else [element.value]
                assert all(len(str(text)) <= 16 for text in texts)


def test_derived_uids_are_valid_and_tell_texts_apart():
    uids = {derived_uid("a", "b"), derived_uid("a", "c"), derived_uid("a/b", "c")}
    assert len(uids) == 3
    assert all(UID(u).is_valid for u in uids)


def test_a_folder_with_files_is_not_written_over(volume, tmp_path):
    (tmp_path / "other.txt").write_text("kept")
    with pytest.raises(FileExistsError):
        write_ct_series(volume, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["other.txt"]


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize("position", [PatientPosition.HFS, PatientPosition.FFDL])
def test_dciodvfy_finds_no_error(volume, tmp_path, position):
    path = write_ct_series(volume, tmp_path, CtOptions(position=position))[1]
    result = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    assert "CTImage" in result.stderr + result.stdout
    assert "Error" not in result.stderr + result.stdout
