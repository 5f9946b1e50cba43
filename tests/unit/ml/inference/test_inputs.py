import numpy as np
import pytest

from ml.config import PAPER_WINDOW, WIDE_WINDOW, PreprocessingConfig
from ml.data.cases import cache_case
from ml.data.dataset import LabelledCase
from ml.data.slices import SliceReader
from ml.geometry import Volume
from ml.inference.inputs import InputBuilder
from ml.preprocessing.channels import window_channels
from ml.preprocessing.crop import Crop, plan_crop
from ml.preprocessing.intensity import window_to_unit
from tests.factories.volumes import make_body, make_geometry


def config_of(**values) -> PreprocessingConfig:
    return PreprocessingConfig(crop_size_px=64, pixel_spacing_mm=4.0, **values)


@pytest.fixture
def volume() -> Volume:
    made = make_body(make_geometry((7, 80, 90), (5.0, 4.0, 4.2)), center_mm=(15.0, -10.0))
    made.hu[:] += np.random.default_rng(0).integers(-60, 90, made.hu.shape, np.int16)
    return made


def builder_of(volume: Volume, **config) -> InputBuilder:
    crop, _ = plan_crop(volume, config_of(**config))
    return InputBuilder(crop, crop.alignment.to_lps(volume.hu))


class TestChannels:
    def test_one_slice_and_window_is_the_papers_input(self, volume):
        builder = builder_of(volume)

        channels = builder.channels(slice(2, 5))

        expected = window_to_unit(builder.crop.guarded_hu(volume.hu[2:5]), PAPER_WINDOW)
        np.testing.assert_array_equal(channels[:, 0], expected)

    def test_context_at_whole_slices_copies_the_neighbours(self, volume):
        alone = builder_of(volume).channels(slice(0, 7))[:, 0]

        channels = builder_of(volume, context_mm=(-5.0, 0.0, 5.0)).channels(slice(0, 7))

        np.testing.assert_array_equal(channels[:, 1], alone)
        np.testing.assert_array_equal(channels[1:, 0], alone[:-1])
        np.testing.assert_array_equal(channels[:-1, 2], alone[1:])

    def test_beyond_the_ends_the_outermost_slice_repeats(self, volume):
        channels = builder_of(volume, context_mm=(-5.0, 0.0, 5.0)).channels(slice(0, 7))

        np.testing.assert_array_equal(channels[0, 0], channels[0, 1])
        np.testing.assert_array_equal(channels[6, 2], channels[6, 1])

    def test_between_slices_hu_are_interpolated_before_the_window(self, volume):
        builder = builder_of(volume, context_mm=(0.0, 2.0))
        hu = builder.crop.guarded_hu(volume.hu)

        channels = builder.channels(slice(3, 4))

        between = window_to_unit(0.6 * hu[3] + 0.4 * hu[4], PAPER_WINDOW)
        np.testing.assert_allclose(channels[0, 1], between, atol=1e-5)

    @pytest.mark.parametrize("size", [1, 2, 3, 7])
    def test_batches_of_any_size_are_the_same_slices(self, volume, size):
        builder = builder_of(volume, context_mm=(-7.0, 0.0, 7.0))
        whole = builder.channels(slice(0, 7))

        parts = [builder.channels(slice(i, i + size)) for i in range(0, 7, size)]

        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)

    def test_only_the_slices_of_the_batchs_context_are_resampled(self, volume, monkeypatch):
        builder = builder_of(volume, context_mm=(-5.0, 0.0, 5.0))
        counts: list[int] = []
        original = Crop.guarded_hu

        def counting(crop: Crop, hu: np.ndarray) -> np.ndarray:
            counts.append(len(hu))
            return original(crop, hu)

        monkeypatch.setattr(Crop, "guarded_hu", counting)
        builder.channels(slice(2, 4))

        assert counts == [4]

    def test_training_sees_the_same_up_to_rounding(self, volume, tmp_path):
        config = config_of(windows=(PAPER_WINDOW, WIDE_WINDOW), context_mm=(-4.0, 0.0, 4.0))
        case = LabelledCase(
            case_id="a", patient_id="p", volume=volume, labels=np.zeros(volume.hu.shape, np.uint8)
        )
        reader = SliceReader([cache_case(case, config, tmp_path)], config)
        trained = reader.read([(0, i) for i in range(7)]).hu.numpy()
        crop, _ = plan_crop(volume, config)

        channels = InputBuilder(crop, volume.hu).channels(slice(0, 7))

        narrow, wide = channels[:, ::2], channels[:, 1::2]
        expected = window_channels(trained, config)
        np.testing.assert_allclose(narrow, expected[:, ::2], atol=0.51 / 300)
        np.testing.assert_allclose(wide, expected[:, 1::2], atol=0.51 / 2000)
