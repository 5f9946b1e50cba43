import numpy as np

from ml.config import PreprocessingConfig
from ml.data.cases import cache_case, coarsen_case, open_case
from ml.preprocessing.crop import plan_crop
from tests.factories.cases import make_case
from tests.factories.volumes import make_body, make_geometry

CONFIG = PreprocessingConfig(crop_size_px=64, pixel_spacing_mm=3.0)


class TestCache:
    def test_the_cache_holds_what_inference_would_see(self, tmp_path):
        volume = make_body(make_geometry(), center_mm=(8.0, 3.0))
        volume.hu[:] += np.random.default_rng(0).integers(-90, 90, volume.hu.shape, np.int16)
        labels = np.zeros(volume.hu.shape, np.uint8)
        labels[2:5, 40:50, 40:60] = 3

        cache_case("p1", volume, labels, CONFIG, tmp_path)
        case = open_case(tmp_path / "p1")

        crop, _ = plan_crop(volume, CONFIG)
        step = 600 / 255
        np.testing.assert_allclose(
            case.images * step - 250, crop.guarded_hu(volume.hu), atol=step / 2 + 1e-3
        )
        np.testing.assert_array_equal(case.labels, crop.labels(labels))
        assert case.spacing_mm == (5.0, 3.0, 3.0)
        assert isinstance(case.images, np.memmap)

    def test_labels_beyond_the_crop_are_counted(self, tmp_path):
        volume = make_body(make_geometry())
        labels = np.zeros(volume.hu.shape, np.uint8)
        labels[3, 50, :5] = 1
        labels[3, 50, 48] = 1

        cache_case("p1", volume, labels, CONFIG, tmp_path)

        assert open_case(tmp_path / "p1").lost_label_voxels == 5


class TestCoarsening:
    def test_images_are_means_and_labels_majorities(self, tmp_path):
        case = make_case(size=64)

        coarsen_case(case, tmp_path)
        coarse = open_case(tmp_path / case.patient_id)

        assert coarse.spacing_mm == (5.0, 4.0, 4.0)
        assert coarse.images.shape == (4, 32, 32)
        np.testing.assert_array_equal(coarse.labels, case.labels[:, ::2, ::2])
        blocks = case.images.reshape(4, 32, 2, 32, 2).astype(float).mean(axis=(2, 4))
        assert np.abs(coarse.images - blocks).max() <= 0.5
