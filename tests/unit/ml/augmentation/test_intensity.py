import dataclasses

import numpy as np
import pytest
import torch

from ml.augmentation.intensity import (
    IntensityRanges,
    apply_intensity,
    plain_channels,
    sample_intensity,
)
from ml.config import PAPER_WINDOW, WIDE_WINDOW, PreprocessingConfig
from ml.preprocessing.channels import window_channels

CONFIG = PreprocessingConfig()
CHANNELS = PreprocessingConfig(windows=(PAPER_WINDOW, WIDE_WINDOW), context_mm=(-5.0, 0.0, 5.0))
NOTHING = IntensityRanges(
    probability=1.0, level=0.0, width=0.0, brightness=0.0, contrast=0.0, gamma=0.0, noise_hu=0.0
)


@pytest.fixture
def hu() -> torch.Tensor:
    return torch.linspace(-250, 350, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)


def drawn(seed: int = 0, count: int = 2, **ranges):
    generator = torch.Generator().manual_seed(seed)
    return sample_intensity(count, IntensityRanges(**ranges), generator)


class TestPlainChannels:
    def test_the_plain_window_is_the_papers(self):
        values = torch.tensor([-250.0, -100.0, 50.0, 200.0, 350.0]).reshape(1, 1, 1, 5)

        assert plain_channels(values, CONFIG).flatten().tolist() == pytest.approx([0, 0, 0.5, 1, 1])

    def test_channels_are_those_of_inference(self, hu):
        expected = window_channels(hu.numpy().astype(np.float32), CHANNELS)

        np.testing.assert_allclose(plain_channels(hu, CHANNELS).numpy(), expected, atol=1e-6)


class TestIntensity:
    def test_an_image_that_was_not_chosen_is_as_in_inference_bit_by_bit(self, hu):
        changed = apply_intensity(hu, drawn(probability=0.0), CHANNELS)

        assert torch.equal(changed, plain_channels(hu, CHANNELS))

    def test_a_change_by_nothing_changes_nothing(self, hu):
        change = sample_intensity(2, NOTHING, torch.Generator().manual_seed(0))

        changed = apply_intensity(hu, change, CHANNELS)

        torch.testing.assert_close(changed, plain_channels(hu, CHANNELS), atol=1e-6, rtol=0)

    def test_values_stay_in_the_networks_range(self, hu):
        changed = apply_intensity(hu, drawn(probability=1.0), CHANNELS)

        assert changed.min() >= 0
        assert changed.max() <= 1
        assert not torch.equal(changed, plain_channels(hu, CHANNELS))

    def test_a_drawn_change_gives_one_result(self, hu):
        change = drawn(probability=1.0)

        assert torch.equal(
            apply_intensity(hu, change, CHANNELS), apply_intensity(hu, change, CHANNELS)
        )

    def test_context_slices_of_an_image_change_alike(self, hu):
        same = hu[:, :1].expand(-1, 3, -1, -1)

        changed = apply_intensity(same, drawn(probability=1.0, noise_hu=0.0), CHANNELS)

        first, second, third = changed.split(2, dim=1)
        assert torch.equal(first, second)
        assert torch.equal(second, third)

    def test_every_window_is_jittered_by_its_own_width(self):
        change = dataclasses.replace(
            sample_intensity(1, NOTHING, torch.Generator()), level=torch.tensor([0.05])
        )
        levels = torch.tensor([[[[50.0 + 15.0, 0.0 + 100.0]]]])

        channels = apply_intensity(levels, change, dataclasses.replace(CHANNELS, context_mm=(0.0,)))

        assert channels[0, 0, 0, 0].item() == pytest.approx(0.5, abs=1e-6)
        assert channels[0, 1, 0, 1].item() == pytest.approx(0.5, abs=1e-6)

    def test_noise_has_the_drawn_deviation_in_hounsfield_units(self):
        flat = torch.full((1, 1, 64, 64), 50.0)
        change = dataclasses.replace(
            sample_intensity(1, NOTHING, torch.Generator()), noise_hu=torch.tensor([12.0])
        )

        deviation = apply_intensity(flat, change, CONFIG).std().item() * 300

        assert deviation == pytest.approx(12, rel=0.1)

    def test_draws_stay_within_the_ranges(self):
        change = drawn(count=500, probability=1.0)

        assert change.level.abs().max() <= 0.05
        assert (change.width - 1).abs().max() <= 0.15
        assert change.gamma.log().abs().max() <= 0.15 + 1e-6
        assert 0 <= change.noise_hu.min() <= change.noise_hu.max() <= 15
