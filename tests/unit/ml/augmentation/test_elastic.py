import dataclasses
import math

import pytest
import torch

from ml.augmentation.elastic import ElasticRanges, displacement, sample_elastic

ALWAYS = ElasticRanges(probability=1.0)


def fields_px(
    size: int, *, sigma: float = 0.08, alpha: float = 2.0, count: int = 40
) -> torch.Tensor:
    """Draw fields at the largest alpha, in pixels of the image."""
    drawn = sample_elastic(
        count, dataclasses.replace(ALWAYS, sigma=sigma), torch.Generator().manual_seed(0)
    )
    drawn = dataclasses.replace(drawn, alpha=torch.full((count,), alpha))
    return displacement(drawn, size, size) * size / 2


def jacobians(moves: torch.Tensor) -> torch.Tensor:
    across = torch.diff(moves, dim=3)[:, :, :-1]
    down = torch.diff(moves, dim=2)[..., :-1]
    return (1 + across[:, 0]) * (1 + down[:, 1]) - across[:, 1] * down[:, 0]


class TestDisplacement:
    @pytest.mark.parametrize("sigma", [0.04, 0.08])
    def test_its_spread_is_that_of_the_theory(self, sigma):
        theory = 512 / math.sqrt(3) / (2 * sigma * 256 * math.sqrt(math.pi))

        moves = fields_px(256, sigma=sigma)

        assert moves.std().item() == pytest.approx(theory, rel=0.2)
        assert moves.mean().item() == pytest.approx(0, abs=0.2 * theory)

    def test_borders_are_moved_as_far_as_the_middle(self):
        moves = fields_px(128, count=300)

        border, middle = moves[..., 0].std().item(), moves[..., 64].std().item()
        assert border == pytest.approx(middle, rel=0.1)

    def test_neighbours_move_alike_over_sigma(self):
        """The correlation of a field smoothed by a Gaussian is exp(-d^2 / 4 sigma^2)."""
        moves = fields_px(256, count=100)
        distance = round(0.08 * 256)

        pairs = torch.stack([moves[..., :-distance].flatten(), moves[..., distance:].flatten()])

        assert torch.corrcoef(pairs)[0, 1].item() == pytest.approx(math.exp(-1 / 4), abs=0.05)

    def test_coarser_images_move_by_the_same_share(self):
        fine, coarse = fields_px(256), fields_px(64)

        torch.testing.assert_close(
            torch.nn.functional.avg_pool2d(fine, 4) / 4, coarse, atol=0.02, rtol=0
        )

    def test_the_default_does_not_fold_at_its_largest_alpha(self):
        assert jacobians(fields_px(256, count=100)).min() > 0

    def test_a_smaller_sigma_would_fold(self):
        """Without this the test above could not fail."""
        assert jacobians(fields_px(256, sigma=0.05)).min() < 0


class TestSample:
    def test_a_seed_draws_the_same(self):
        first, second = (
            sample_elastic(3, ElasticRanges(), torch.Generator().manual_seed(4)) for _ in "ab"
        )

        assert torch.equal(first.alpha, second.alpha)
        assert torch.equal(first.noise, second.noise)

    def test_alpha_is_uniform_from_none_to_the_largest(self):
        alpha = sample_elastic(2000, ALWAYS, torch.Generator().manual_seed(0)).alpha

        assert alpha.min() >= 0
        assert alpha.max() <= 2
        assert alpha.mean().item() == pytest.approx(1, abs=0.05)

    def test_only_a_share_of_the_images_is_distorted(self):
        drawn = sample_elastic(2000, ElasticRanges(), torch.Generator().manual_seed(0))

        assert (drawn.alpha > 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
