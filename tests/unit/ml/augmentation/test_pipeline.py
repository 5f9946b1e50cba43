import dataclasses

import pytest
import torch

from ml.augmentation.affine import AffineRanges
from ml.augmentation.elastic import ElasticRanges
from ml.augmentation.intensity import IntensityRanges, plain_channels
from ml.augmentation.pipeline import RECIPES, Augmenter, Recipe
from ml.config import WIDE_WINDOW, AugmentationPreset, PreprocessingConfig

CONFIG = PreprocessingConfig(windows=(WIDE_WINDOW,), context_mm=(-5.0, 0.0, 5.0))
"""Wide, so that no value of these tests is cut off."""
UNCHANGED = IntensityRanges(probability=0.0)
STILL = AffineRanges(flip_probability=0.0, probability=0.0)
CHANGING = [AugmentationPreset.PAPER, AugmentationPreset.STANDARD]


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Make blobs of two labels whose HU are 100 times the label, alike in all context slices."""
    labels = torch.zeros(4, 64, 64, dtype=torch.long)
    labels[:, 16:28, 8:24] = 3
    labels[:, 36:50, 34:52] = 1
    return labels[:, None].float().expand(-1, 3, -1, -1) * 100, labels


def augmented(recipe: Recipe, pair, seed: int = 0):
    augmenter = Augmenter(preprocessing=CONFIG, recipe=recipe)
    drawn = augmenter.sample(4, torch.Generator().manual_seed(seed))
    return augmenter.apply(drawn, *pair)


def geometry_of(preset: AugmentationPreset) -> Recipe:
    """Return a preset's moves alone, drawn for every image."""
    recipe = RECIPES[preset]
    return dataclasses.replace(
        recipe,
        affine=dataclasses.replace(recipe.affine, probability=1.0),
        elastic=dataclasses.replace(recipe.elastic, probability=1.0),
        intensity=UNCHANGED,
    )


class TestIdentity:
    @pytest.mark.parametrize("two_steps", [False, True])
    def test_no_alpha_and_no_point_shift_is_the_identity_bit_by_bit(self, pair, two_steps):
        recipe = Recipe(
            affine=STILL,
            elastic=ElasticRanges(probability=1.0, alpha=0.0),
            intensity=UNCHANGED,
            is_nearest_in_two_steps=two_steps,
        )

        images, labels = augmented(recipe, pair)

        assert torch.equal(images, plain_channels(pair[0], CONFIG))
        assert torch.equal(labels, pair[1])

    def test_the_preset_without_augmentation_is_inference_bit_by_bit(self, pair):
        images, labels = augmented(RECIPES[AugmentationPreset.NONE], pair)

        assert torch.equal(images, plain_channels(pair[0], CONFIG))
        assert torch.equal(labels, pair[1])

    @pytest.mark.parametrize("two_steps", [False, True])
    def test_a_vanishing_distortion_changes_next_to_nothing(self, pair, two_steps):
        """Goes through the sampling, which the identity does not."""
        recipe = Recipe(
            affine=STILL,
            elastic=ElasticRanges(probability=1.0, alpha=1e-5),
            intensity=UNCHANGED,
            is_nearest_in_two_steps=two_steps,
        )

        images, labels = augmented(recipe, pair)

        torch.testing.assert_close(images, plain_channels(pair[0], CONFIG), atol=1e-4, rtol=0)
        assert torch.equal(labels, pair[1])


class TestMoves:
    @pytest.mark.parametrize("two_steps", [False, True])
    def test_a_flip_mirrors_image_and_labels(self, pair, two_steps):
        recipe = Recipe(
            affine=AffineRanges(flip_probability=1.0, probability=0.0),
            elastic=ElasticRanges(probability=0.0),
            intensity=UNCHANGED,
            is_nearest_in_two_steps=two_steps,
        )

        images, labels = augmented(recipe, pair)

        expected = plain_channels(pair[0], CONFIG).flip(-1)
        torch.testing.assert_close(images, expected, atol=1e-4, rtol=0)
        assert torch.equal(labels, pair[1].flip(-1))

    @pytest.mark.parametrize("preset", CHANGING)
    def test_image_and_labels_move_together(self, pair, preset):
        images, labels = augmented(geometry_of(preset), pair)

        hu = images[:, 1] * 2000 - 1000
        found = (hu / 100).round()
        assert (found == labels)[hu > -50].float().mean() > 0.93
        assert not torch.equal(labels, pair[1])

    @pytest.mark.parametrize("preset", CHANGING)
    def test_context_slices_move_alike(self, pair, preset):
        images, _ = augmented(geometry_of(preset), pair)

        assert torch.equal(images[:, 0], images[:, 1])
        assert torch.equal(images[:, 1], images[:, 2])

    @pytest.mark.parametrize("preset", CHANGING)
    def test_no_label_is_invented(self, pair, preset):
        for seed in range(5):
            _, labels = augmented(geometry_of(preset), pair, seed)

            assert set(labels.unique().tolist()) == {0, 1, 3}

    def test_the_papers_images_keep_their_grey_values(self, pair):
        images, _ = augmented(geometry_of(AugmentationPreset.PAPER), pair)

        before = set(plain_channels(pair[0], CONFIG).unique().tolist())
        assert set(images.unique().tolist()) == before

    def test_a_quarter_turn_by_hand(self, pair):
        augmenter = Augmenter(preprocessing=CONFIG, recipe=RECIPES[AugmentationPreset.NONE])
        turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]).expand(4, 2, 3)
        drawn = dataclasses.replace(augmenter.sample(4, torch.Generator()), maps=turn)

        _, labels = augmenter.apply(drawn, *pair)

        # output (x, y) shows input (-y, x): right goes up, and up left
        assert torch.equal(labels, torch.rot90(pair[1], 1, dims=(1, 2)))


class TestDraws:
    @pytest.mark.parametrize("preset", CHANGING)
    def test_a_seed_gives_one_result(self, pair, preset):
        first, again, other = (augmented(RECIPES[preset], pair, seed) for seed in (1, 1, 2))

        assert torch.equal(first[0], again[0])
        assert torch.equal(first[1], again[1])
        assert not torch.equal(first[0], other[0])

    def test_what_is_given_is_left_alone(self, pair):
        hu, labels = pair[0].clone(), pair[1].clone()

        augmented(geometry_of(AugmentationPreset.STANDARD), (hu, labels))

        assert torch.equal(hu, pair[0])
        assert torch.equal(labels, pair[1])

    def test_every_preset_has_a_recipe(self):
        assert set(RECIPES) == set(AugmentationPreset)
