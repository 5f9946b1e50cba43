import errno
import gzip
import itertools

import nibabel
import numpy as np
import pytest

from ml.data.importing.nifti import check_same_grid, read_nifti, to_hu, to_label_values
from ml.data.importing.refusals import CaseRefusedError, ImportRefusal
from tests.factories.imports import nifti_affine, save_nifti
from tests.factories.volumes import make_geometry

SIGNED_PERMUTATIONS = [
    (axes, signs)
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
SPACINGS = (0.9, 1.1, 3.0)
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])


def affine_of(axes, signs):
    """Voxel axis n runs along patient axis axes[n], in its direction or against it."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for voxel_axis, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[axis, voxel_axis] = sign * SPACINGS[axis]
    affine[:3, 3] = (-31.25, 17.5, 205.0)
    return affine


def refusal(path, array, affine, **options):
    save_nifti(path, array, affine, **options)
    with pytest.raises(CaseRefusedError) as caught:
        read_nifti(path)
    return caught.value


class TestReadNifti:
    @pytest.mark.parametrize(("axes", "signs"), SIGNED_PERMUTATIONS)
    def test_every_voxel_keeps_its_place_in_the_patient(self, tmp_path, axes, signs):
        array = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
        affine = affine_of(axes, signs)
        save_nifti(tmp_path / "a.nii.gz", array, affine)

        read = read_nifti(tmp_path / "a.nii.gz")

        hu = to_hu(read, tmp_path)
        voxels = np.argwhere(array >= 0)
        right_anterior_superior = voxels @ affine[:3, :3].T + affine[:3, 3]
        expected = dict(zip(array.ravel(), right_anterior_superior * [-1, -1, 1], strict=True))
        found = read.geometry.index_to_mm(np.argwhere(hu >= 0).astype(float))
        np.testing.assert_allclose(found, [expected[v] for v in hu.ravel()], atol=1e-4)
        assert read.geometry.spacing_mm == pytest.approx((3.0, 1.1, 0.9))
        np.testing.assert_array_equal(read.geometry.normal, [0, 0, 1])

    def test_agrees_with_nibabel_on_the_patients_axes(self, tmp_path):
        array = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
        save_nifti(tmp_path / "a.nii", array, affine_of((2, 0, 1), (-1, 1, -1)))

        read = read_nifti(tmp_path / "a.nii")

        canonical = nibabel.as_closest_canonical(nibabel.load(tmp_path / "a.nii"))
        seen = np.asarray(canonical.dataobj)[::-1, ::-1].transpose(2, 1, 0)
        np.testing.assert_array_equal(to_hu(read, tmp_path), seen)

    def test_slope_and_intercept_are_applied(self, tmp_path):
        image = nibabel.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4))
        image.header.set_slope_inter(2.0, -1024.0)
        nibabel.save(image, tmp_path / "a.nii")

        hu = to_hu(read_nifti(tmp_path / "a.nii"), tmp_path)

        assert sorted(hu.ravel().tolist()) == [-1024 + 2 * n for n in range(8)]

    def test_a_fourth_axis_of_one_is_dropped(self, tmp_path):
        save_nifti(tmp_path / "a.nii", np.zeros((2, 3, 4, 1), np.int16), AFFINE)
        assert read_nifti(tmp_path / "a.nii").geometry.shape == (4, 3, 2)

    def test_qform_alone_is_enough(self, tmp_path):
        image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), None)
        image.set_qform(affine_of((0, 1, 2), (-1, -1, 1)), code=1)
        nibabel.save(image, tmp_path / "a.nii")
        geometry = read_nifti(tmp_path / "a.nii").geometry
        np.testing.assert_allclose(geometry.slice_positions_mm[0], (31.25, -17.5, 205), atol=1e-4)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ([[1, 0.1, 0], [0, 1, 0], [0, 0, 3]], "sheared"),
            ([[0.995, -0.0998, 0], [0.0998, 0.995, 0], [0, 0, 3]], "oblique"),
        ],
    )
    def test_affines_that_would_need_resampling_are_refused(self, tmp_path, change, reason):
        affine = np.eye(4)
        affine[:3, :3] = change
        error = refusal(tmp_path / "a.nii", np.zeros((3, 3, 3), np.int16), affine, qform=False)
        assert error.code is ImportRefusal.AFFINE_UNSUPPORTED
        assert reason in error.facts["reason"]

    @pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
    def test_an_affine_without_an_inverse_is_refused(self, tmp_path, value):
        path = tmp_path / "a.nii"
        save_nifti(path, np.zeros((3, 3, 3), np.int16), AFFINE, qform=False)
        content = bytearray(path.read_bytes())
        content[320:324] = np.float32(value).tobytes()  # srow_z[2]
        path.write_bytes(content)
        with pytest.raises(CaseRefusedError, match="has no inverse"):
            read_nifti(path)

    def test_two_affines_that_disagree_are_refused(self, tmp_path):
        image = nibabel.Nifti1Image(np.zeros((3, 3, 3), np.int16), None)
        image.set_sform(AFFINE, code=1)
        image.set_qform(AFFINE @ np.diag([-1, 1, 1, 1]), code=1)
        nibabel.save(image, tmp_path / "a.nii")
        with pytest.raises(CaseRefusedError, match="sform and qform disagree"):
            read_nifti(tmp_path / "a.nii")

    def test_a_file_without_an_affine_is_refused(self, tmp_path):
        nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3), np.int16), None), tmp_path / "a.nii")
        with pytest.raises(CaseRefusedError, match="does not say how the patient lies"):
            read_nifti(tmp_path / "a.nii")

    def test_metres_are_refused(self, tmp_path):
        image = nibabel.Nifti1Image(np.zeros((3, 3, 3), np.int16), AFFINE)
        image.header.set_xyzt_units("meter")
        nibabel.save(image, tmp_path / "a.nii")
        with pytest.raises(CaseRefusedError, match="not in millimetres"):
            read_nifti(tmp_path / "a.nii")

    @pytest.mark.parametrize("shape", [(3, 3), (3, 3, 3, 2)])
    def test_what_is_no_volume_is_refused(self, tmp_path, shape):
        error = refusal(tmp_path / "a.nii", np.zeros(shape, np.int16), AFFINE)
        assert error.code is ImportRefusal.NIFTI_INVALID

    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: b"",
            lambda content: b"no gzip",
            lambda content: gzip.compress(b"no NIfTI, but gzip"),
            lambda content: content[: len(content) // 2],
            lambda content: content[:-20] + bytes(20),
        ],
    )
    def test_damaged_files_are_refused(self, tmp_path, damage):
        path = tmp_path / "a.nii.gz"
        noise = np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20)).astype(np.int16)
        save_nifti(path, noise, AFFINE)
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(CaseRefusedError) as caught:
            read_nifti(path)
        assert caught.value.code is ImportRefusal.NIFTI_INVALID

    def test_a_header_that_says_terabytes_is_refused_unread(self, tmp_path):
        header = nibabel.Nifti1Header()
        header.set_data_shape((32767, 32767, 32767))
        path = tmp_path / "a.nii.gz"
        path.write_bytes(gzip.compress(header.binaryblock + bytes(100)))
        with pytest.raises(CaseRefusedError, match="more than") as caught:
            read_nifti(path)
        assert caught.value.code is ImportRefusal.NIFTI_INVALID

    def test_a_failing_disk_is_no_damage(self, tmp_path, monkeypatch):
        def fail(*_):
            raise OSError(errno.EIO, "Input/output error")

        save_nifti(tmp_path / "a.nii", np.zeros((3, 3, 3), np.int16), AFFINE)
        monkeypatch.setattr(nibabel, "load", fail)
        with pytest.raises(OSError, match="Input/output error"):
            read_nifti(tmp_path / "a.nii")


class TestValues:
    @pytest.mark.parametrize("value", [np.nan, np.inf, 40_000.0, -40_000.0])
    def test_that_are_no_hounsfield_units_are_refused(self, tmp_path, value):
        array = np.zeros((3, 3, 3), np.float32)
        array[1, 1, 1] = value
        save_nifti(tmp_path / "a.nii", array, AFFINE)
        with pytest.raises(CaseRefusedError, match="no Hounsfield units"):
            to_hu(read_nifti(tmp_path / "a.nii"), tmp_path / "a.nii")

    @pytest.mark.parametrize("value", [0.5, -1.0, 256.0, np.nan])
    def test_that_are_no_labels_are_refused(self, tmp_path, value):
        array = np.zeros((3, 3, 3), np.float32)
        array[1, 1, 1] = value
        save_nifti(tmp_path / "a.nii", array, AFFINE)
        with pytest.raises(CaseRefusedError, match="whole numbers"):
            to_label_values(read_nifti(tmp_path / "a.nii"), tmp_path / "a.nii")


class TestSameGrid:
    def test_accepts_what_rounding_does(self):
        one = make_geometry()
        check_same_grid(one, make_geometry(first_mm=(-190.0, -190.0, 0.3)), "l")

    @pytest.mark.parametrize(
        "other",
        [
            make_geometry((8, 96, 95)),
            make_geometry(first_mm=(-189.0, -190.0, 0.0)),
            make_geometry(spacing_mm=(5.0, 4.0, 4.01)),
        ],
    )
    def test_refuses_another_grid(self, other):
        with pytest.raises(CaseRefusedError) as caught:
            check_same_grid(make_geometry(), other, "l")
        assert caught.value.code is ImportRefusal.GEOMETRY_MISMATCH


def test_the_affine_made_for_tests_is_that_of_the_geometry():
    geometry = make_geometry((4, 5, 6))
    place = nifti_affine(geometry) @ [2, 1, 3, 1]
    expected = geometry.index_to_mm(np.array([[3.0, 1.0, 2.0]]))[0]
    np.testing.assert_allclose(place[:3] * [-1, -1, 1], expected)
