import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml.augmentation.affine import (
    THREE_POINTS,
    AffineRanges,
    compose,
    sample_affine,
    three_point_affine,
)

STILL = AffineRanges(flip_probability=0.0, probability=0.0)
IDENTITY = torch.eye(2, 3)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def mapped(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return points @ maps[:, :, :2].transpose(1, 2) + maps[:, None, :, 2]


class TestSample:
    def test_a_seed_draws_the_same(self):
        drawn = [sample_affine(5, AffineRanges(), torch.Generator().manual_seed(4)) for _ in "ab"]

        assert torch.equal(drawn[0], drawn[1])

    def test_without_chances_every_map_is_the_identity(self, generator):
        maps = sample_affine(3, STILL, generator)

        assert torch.equal(maps, IDENTITY.expand(3, 2, 3))

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

    def test_images_are_never_turned_upside_down(self, generator):
        maps = sample_affine(500, AffineRanges(), generator)

        assert maps[:, 1, 1].min() > 0

    def test_three_points_alone_turn_and_stretch_as_the_recipe_does(self, generator):
        """At a shift of .04 edges: 95 % within 3.8 degrees, and singular values .88 to 1.12."""
        ranges = AffineRanges(flip_probability=0.0, probability=0.0, point_shift=0.04)

        maps = sample_affine(4000, ranges, generator)

        scales = torch.linalg.svdvals(maps[:, :, :2])
        turned = torch.atan2(maps[:, 1, 0] - maps[:, 0, 1], maps[:, 0, 0] + maps[:, 1, 1])
        assert torch.rad2deg(turned).quantile(0.975).item() == pytest.approx(3.8, abs=0.4)
        assert scales.flatten().quantile(0.025).item() == pytest.approx(0.88, abs=0.02)
        assert scales.flatten().quantile(0.975).item() == pytest.approx(1.12, abs=0.02)


class TestThreePoints:
    @given(st.lists(st.floats(-0.2, 0.2), min_size=6, max_size=6))
    def test_the_points_go_exactly_where_they_are_moved(self, values):
        moves = torch.tensor(values, dtype=torch.float64).reshape(1, 3, 2)
        points = torch.tensor([THREE_POINTS], dtype=torch.float64)

        arrived = mapped(three_point_affine(moves), points)

        torch.testing.assert_close(arrived, points + moves, atol=1e-12, rtol=0)

    def test_without_moves_the_map_is_the_identity_bit_by_bit(self):
        assert torch.equal(three_point_affine(torch.zeros(2, 3, 2)), IDENTITY.expand(2, 2, 3))

    def test_equal_moves_are_a_pure_translation(self):
        moves = torch.tensor([0.08, -0.08], dtype=torch.float64).expand(1, 3, 2)

        maps = three_point_affine(moves)

        torch.testing.assert_close(maps[0, :, :2], torch.eye(2, dtype=torch.float64))
        torch.testing.assert_close(maps[0, :, 2], moves[0, 0])


class TestCompose:
    def test_the_inner_map_comes_first(self):
        shift = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])
        double = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]])
        origin = torch.zeros(1, 1, 2)

        assert mapped(compose(double, shift), origin).tolist() == [[[1.0, 0.0]]]
        assert mapped(compose(shift, double), origin).tolist() == [[[0.5, 0.0]]]
