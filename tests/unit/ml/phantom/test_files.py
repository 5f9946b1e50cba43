import json

import numpy as np
import pydicom
import pytest

from ml.dicom.files import list_source_files
from ml.dicom.rtstruct_check import check_rtstruct
from ml.dicom.rtstruct_read import read_rtstruct
from ml.dicom.series import index_series
from ml.geometry import VolumeGeometry
from ml.phantom.files import StorageOptions, stored_labels, write_phantom
from ml.phantom.orientation import PatientPosition, RowOrder
from ml.structures import CERVIX, UnknownStructureError
from tests.factories.phantoms import make_phantom


@pytest.fixture
def tiny_phantom():
    return make_phantom()


def read_geometry(folder):
    images = [
        pydicom.dcmread(p, stop_before_pixels=True) for p in sorted((folder / "ct").iterdir())
    ]
    row, column = np.split(np.array(images[0].ImageOrientationPatient, float), 2)
    return VolumeGeometry(
        rows=images[0].Rows,
        columns=images[0].Columns,
        pixel_spacing_mm=(float(images[0].PixelSpacing[0]), float(images[0].PixelSpacing[1])),
        row_direction=row,
        column_direction=column,
        slice_positions_mm=np.array([i.ImagePositionPatient for i in images], float),
    )


def centroids(labels, geometry):
    return np.array(
        [
            geometry.index_to_mm(np.argwhere(labels == s.number).astype(float)).mean(axis=0)
            for s in CERVIX.structures
        ]
    )


@pytest.mark.parametrize("row_order", RowOrder)
@pytest.mark.parametrize("position", PatientPosition)
def test_centroids_in_the_patient_do_not_depend_on_how_the_patient_lies(
    tiny_phantom, tmp_path, position, row_order
):
    write_phantom(tiny_phantom, tmp_path, StorageOptions(position=position, row_order=row_order))

    with np.load(tmp_path / "labels.npz") as archive:
        labels = archive["labels"]
        assert tuple(archive["names"]) == CERVIX.names

    expected = centroids(tiny_phantom.labels, tiny_phantom.volume.geometry)
    np.testing.assert_allclose(centroids(labels, read_geometry(tmp_path)), expected, atol=1e-3)


@pytest.mark.parametrize("position", [PatientPosition.HFS, PatientPosition.FFDR])
def test_the_true_contours_give_back_the_labels(tiny_phantom, tmp_path, position):
    options = StorageOptions(position=position)
    write_phantom(tiny_phantom, tmp_path, options)
    series = index_series(list_source_files(tmp_path / "ct"))

    check_rtstruct(tmp_path / "rtstruct.dcm", series)

    masks = read_rtstruct(tmp_path / "rtstruct.dcm", series)
    labels = stored_labels(tiny_phantom, options)
    for structure in CERVIX.structures:
        np.testing.assert_array_equal(masks[structure.name], labels == structure.number)


def test_structures_can_be_written_under_the_names_of_other_systems(tiny_phantom, tmp_path):
    names = (("Bladder", "Urinary bladder"), ("CTV-N", "LN"))
    write_phantom(tiny_phantom, tmp_path, StorageOptions(structure_names=names))
    masks = read_rtstruct(
        tmp_path / "rtstruct.dcm", index_series(list_source_files(tmp_path / "ct"))
    )
    assert set(masks) == {"Urinary bladder", "LN", "CTV-UV", "Rectum"}


def test_renaming_an_unknown_structure_is_refused(tiny_phantom, tmp_path):
    with pytest.raises(UnknownStructureError):
        write_phantom(tiny_phantom, tmp_path, StorageOptions(structure_names=(("Liver", "L"),)))


def test_equal_phantoms_give_equal_files(tiny_phantom, tmp_path):
    contents = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        write_phantom(tiny_phantom, folder)
        files = (p for p in sorted(folder.rglob("*")) if p.is_file())
        contents.append({p.relative_to(folder): p.read_bytes() for p in files})
    assert len(contents[0]) == 16 + 3
    assert contents[0] == contents[1]


def test_the_record_says_how_to_make_the_phantom_again(tiny_phantom, tmp_path):
    write_phantom(tiny_phantom, tmp_path)
    record = json.loads((tmp_path / "phantom.json").read_text())
    assert (record["seed"], record["tier"]) == (7, "tiny")
    assert record["generator_version"] == tiny_phantom.generator_version
    assert record["anatomy"]["bladder"]["volume_ml"] == tiny_phantom.anatomy.bladder.volume_ml
