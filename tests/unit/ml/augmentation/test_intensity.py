import pytest
import torch

from ml.augmentation.intensity import (
    IntensityRanges,
    apply_intensity,
    plain_window,
    sample_intensity,
)
from ml.augmentation.pipeline import Augmenter
from ml.config import PreprocessingConfig

CONFIG = PreprocessingConfig()


@pytest.fixture
def hu() -> torch.Tensor:
    return torch.linspace(-250, 350, 2 * 16 * 16).reshape(2, 1, 16, 16)


def drawn(seed: int = 0, **ranges):
    generator = torch.Generator().manual_seed(seed)
    return sample_intensity(2, IntensityRanges(**ranges), generator)


class TestIntensity:
    def test_no_change_is_the_plain_window(self, hu):
        changed = apply_intensity(hu, drawn(probability=0.0), CONFIG)

        torch.testing.assert_close(changed, plain_window(hu, CONFIG), atol=1e-6, rtol=0)

    def test_values_stay_in_the_networks_range(self, hu):
        changed = apply_intensity(hu, drawn(probability=1.0), CONFIG)

        assert changed.min() >= 0
        assert changed.max() <= 1
        assert not torch.equal(changed, plain_window(hu, CONFIG))

    def test_a_drawn_change_gives_one_result(self, hu):
        change = drawn(probability=1.0)

        assert torch.equal(apply_intensity(hu, change, CONFIG), apply_intensity(hu, change, CONFIG))

    def test_the_plain_window_is_the_papers(self):
        values = torch.tensor([-250.0, -100.0, 50.0, 200.0, 350.0]).reshape(1, 1, 1, 5)

        assert plain_window(values, CONFIG).flatten().tolist() == pytest.approx([0, 0, 0.5, 1, 1])


class TestAugmenter:
    def test_grey_values_change_on_images_only(self, hu):
        labels = torch.randint(0, 5, (2, 16, 16))
        augmenter = Augmenter(preprocessing=CONFIG)

        results = [
            augmenter.apply(augmenter.sample(2, torch.Generator().manual_seed(seed)), hu, labels)
            for seed in (1, 1, 2)
        ]

        assert torch.equal(results[0][0], results[1][0])
        assert torch.equal(results[0][1], results[1][1])
        assert not torch.equal(results[0][0], results[2][0])
        assert set(results[2][1].unique().tolist()) <= set(range(5))
