"""What others read from our structure sets: plastimatch, and masks by SimpleITK and skimage."""

import subprocess
from importlib.metadata import files

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from skimage.draw import polygon2mask

from ml.dicom.rtstruct_check import check_rtstruct
from ml.dicom.rtstruct_read import read_rtstruct
from ml.dicom.series import index_series, list_source_files
from tests.factories import ct
from tests.factories.structures import hard_masks, write_masks

GRIDS = {
    "equal spacing": {"rows": 40, "columns": 40},
    "unequal spacing": {"rows": 40, "columns": 40, "pixel_spacing_mm": (1.5, 0.9766)},
    "not square": {"rows": 44, "columns": 60, "pixel_spacing_mm": (0.8, 1.25)},
}
CASES = [(position, "not square") for position in ct.ORIENTATIONS]
CASES += [("HFS", "equal spacing"), ("HFS", "unequal spacing")]


def find_plastimatch():
    found = [f for f in files("plastimatch") or () if str(f) == "plastimatch/bin/plastimatch"]
    assert found, "the plastimatch wheel holds no program of that name"
    return found[0].locate()


def read_with_plastimatch(folder, path):
    """Masks by name with the positions of their voxels, as plastimatch sees them."""
    out = folder / "plastimatch"
    subprocess.run(
        [
            find_plastimatch(),
            "convert",
            "--input", path,
            "--referenced-ct", folder / "ct",
            "--output-prefix", out,
            "--prefix-format", "nrrd",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return {file.stem.replace("_", " "): SimpleITK.ReadImage(file) for file in out.glob("*.nrrd")}


def sample(image, series):
    """The image's value at every voxel centre of the series; 0 outside of it."""
    mask = SimpleITK.GetArrayFromImage(image) > 0
    direction = np.array(image.GetDirection()).reshape(3, 3)
    to_index = np.linalg.inv(direction * np.array(image.GetSpacing()))
    grid = np.stack(np.meshgrid(*map(np.arange, series.geometry.shape), indexing="ij"), axis=-1)
    points = series.geometry.index_to_mm(grid.reshape(-1, 3).astype(float))
    index = np.rint((points - image.GetOrigin()) @ to_index.T).astype(int)[:, ::-1]
    inside = ((index >= 0) & (index < mask.shape)).all(axis=1)
    values = np.zeros(len(points), np.bool_)
    values[inside] = mask[tuple(index[inside].T)]
    return values.reshape(series.geometry.shape)


def read_with_itk(series, path):
    """Masks by name: SimpleITK's geometry of the series and skimage's polygons."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(instance.path) for instance in series.instances])
    image = reader.Execute()
    masks = {}
    ds = dcmread(path)
    names = {region.ROINumber: str(region.ROIName) for region in ds.StructureSetROISequence}
    for roi in ds.ROIContourSequence:
        mask = np.zeros(SimpleITK.GetArrayViewFromImage(image).shape, np.bool_)
        for item in roi.get("ContourSequence", []):
            points = np.array(item.ContourData, float).reshape(-1, 3)
            index = np.array([image.TransformPhysicalPointToContinuousIndex(p) for p in points])
            number = round(index[:, 2].mean())
            np.testing.assert_allclose(index[:, 2], number, atol=1e-2)
            mask[number] ^= polygon2mask(mask.shape[1:], index[:, 1::-1])
        masks[names[roi.ReferencedROINumber]] = mask
    return masks


@pytest.mark.parametrize(("position", "grid"), CASES)
def test_hard_masks_come_back_bit_exact(tmp_path, position, grid):
    ct.write_ct(tmp_path / "ct", ct.CtSpec(patient_position=position, **GRIDS[grid]))
    series = index_series(list_source_files(tmp_path / "ct"))
    masks = hard_masks(series.geometry)
    path = tmp_path / "rs.dcm"
    write_masks(path, series, masks)
    check_rtstruct(path, series)
    by_plastimatch = {
        name: sample(image, series) for name, image in read_with_plastimatch(tmp_path, path).items()
    }
    readers = (by_plastimatch, read_with_itk(series, path), read_rtstruct(path, series))
    for seen in readers:
        assert set(seen) == set(masks)
        for name, mask in masks.items():
            assert mask.any()
            np.testing.assert_array_equal(seen[name], mask, err_msg=name)


@pytest.mark.parametrize("position", ct.ORIENTATIONS)
def test_an_asymmetric_object_keeps_its_place_in_the_patient(tmp_path, position):
    """One object, fixed in patient coordinates, is drawn on series of every position."""
    spec = ct.CtSpec(
        patient_position=position, rows=60, columns=70, pixel_spacing_mm=(1.6, 1.3), slices=11
    )
    ct.write_ct(tmp_path / "ct", spec)
    series = index_series(list_source_files(tmp_path / "ct"))
    grid = np.stack(np.meshgrid(*map(np.arange, series.geometry.shape), indexing="ij"), axis=-1)
    points = series.geometry.index_to_mm(grid.reshape(-1, 3).astype(float))
    centre = np.add(spec.centre_mm, (9.0, -14.0, 4.0))
    mask = (((points - centre) / [18.0, 9.0, 8.0]) ** 2).sum(axis=1) <= 1
    path = tmp_path / "rs.dcm"
    write_masks(path, series, {"egg": mask.reshape(series.geometry.shape)})
    (image,) = read_with_plastimatch(tmp_path, path).values()
    voxels = np.argwhere(SimpleITK.GetArrayFromImage(image) > 0)[:, ::-1]
    seen = np.array(
        [image.TransformContinuousIndexToPhysicalPoint(v.astype(float)) for v in voxels]
    )
    assert np.linalg.norm(seen.mean(axis=0) - points[mask].mean(axis=0)) < 0.01
    assert np.linalg.norm(seen.mean(axis=0) - centre) < 0.5
