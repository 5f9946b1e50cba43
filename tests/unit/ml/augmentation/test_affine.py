import math

import pytest
import torch

from ml.augmentation.affine import AffineRanges, apply_affine, sample_affine

STILL = AffineRanges(flip_probability=0.0, probability=0.0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    labels[:, 8:14, 4:12] = 3
    return labels[:, None].float() * 100, labels


class TestSample:
    def test_a_seed_draws_the_same(self):
        drawn = [sample_affine(5, AffineRanges(), torch.Generator().manual_seed(4)) for _ in "ab"]

        assert torch.equal(drawn[0], drawn[1])

    def test_without_chances_every_map_is_the_identity(self, generator):
        maps = sample_affine(3, STILL, generator)

        assert torch.equal(maps, torch.eye(2, 3).expand(3, 2, 3))

    def test_maps_stay_within_the_ranges(self, generator):
        ranges = AffineRanges(flip_probability=0.5, probability=1.0, aspect=0.0)

        maps = sample_affine(500, ranges, generator)

        scales = torch.linalg.svdvals(maps[:, :, :2])
        turns = torch.rad2deg(torch.atan2(maps[:, 1, 0], maps[:, 1, 1]))
        assert torch.all((scales - 1).abs() <= ranges.scale + 1e-5)
        assert turns.abs().max() <= ranges.rotation_degrees + 1e-4
        assert maps[:, :, 2].abs().max() <= ranges.shift
        mirrored = (torch.linalg.det(maps[:, :, :2]) < 0).float().mean().item()
        assert mirrored == pytest.approx(0.5, abs=0.1)


class TestApply:
    def test_the_identity_changes_nothing(self, pair, generator):
        images, labels = apply_affine(pair[0], pair[1], sample_affine(2, STILL, generator))

        torch.testing.assert_close(images, pair[0], atol=1e-3, rtol=0)
        assert torch.equal(labels, pair[1])

    def test_a_flip_mirrors_image_and_labels(self, pair, generator):
        flip = AffineRanges(flip_probability=1.0, probability=0.0)

        images, labels = apply_affine(pair[0], pair[1], sample_affine(2, flip, generator))

        torch.testing.assert_close(images, pair[0].flip(-1), atol=1e-3, rtol=0)
        assert torch.equal(labels, pair[1].flip(-1))

    def test_image_and_labels_move_together(self, pair, generator):
        ranges = AffineRanges(probability=1.0)

        images, labels = apply_affine(pair[0], pair[1], sample_affine(2, ranges, generator))

        assert set(labels.unique().tolist()) == {0, 3}
        agreement = ((images[:, 0] > 150) == (labels == 3)).float().mean()
        assert agreement > 0.98

    def test_a_quarter_turn_by_hand(self, pair):
        turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]).expand(2, 2, 3)

        _, labels = apply_affine(pair[0], pair[1], turn)

        assert torch.equal(labels, torch.rot90(pair[1], -1, dims=(1, 2))) or torch.equal(
            labels, torch.rot90(pair[1], 1, dims=(1, 2))
        )
        assert math.isclose(labels.float().mean().item(), pair[1].float().mean().item())
