import math

import pytest
import torch

from ml.config import LossConfig, LossName
from ml.losses import LOSSES, build_loss
from ml.losses.functional import ce_dice_loss, cross_entropy, dice_loss, soft_dice_per_class

FOUR_PIXELS = torch.tensor([0.9, 0.4, 0.3, 0.1])
FOUR_LABELS = torch.tensor([1, 1, 0, 0]).reshape(1, 1, 4)


@pytest.fixture
def four_pixels() -> torch.Tensor:
    return torch.stack([1 - FOUR_PIXELS, FOUR_PIXELS]).reshape(1, 2, 1, 4)


class TestCrossEntropy:
    def test_one_pixel_by_hand(self):
        logits = torch.tensor([2.0, 0.0, 0.0]).reshape(1, 3, 1, 1)

        assert cross_entropy(logits, torch.zeros(1, 1, 1, dtype=torch.long)).item() == (
            pytest.approx(0.239545, abs=1e-6)
        )


class TestSoftDice:
    def test_four_pixels_by_hand(self, four_pixels):
        per_class = soft_dice_per_class(four_pixels, FOUR_LABELS, smooth=0.0)

        torch.testing.assert_close(per_class, torch.tensor([0.744186, 0.702703]), atol=1e-6, rtol=0)

    def test_background_is_no_part_of_the_loss(self, four_pixels):
        loss = dice_loss(four_pixels, FOUR_LABELS, smooth=0.0)

        assert loss.item() == pytest.approx(1 - 0.702703, abs=1e-6)

    @pytest.mark.parametrize(("smooth", "expected"), [(1e-5, 1.6666e-5), (1.0, 0.625)])
    def test_an_absent_class_by_hand(self, smooth, expected):
        probabilities = torch.tensor([[0.8, 0.8, 0.8], [0.2, 0.2, 0.2]]).reshape(1, 2, 1, 3)
        nothing = torch.zeros(1, 1, 3, dtype=torch.long)

        found = soft_dice_per_class(probabilities, nothing, smooth=smooth)[1].item()

        assert found == pytest.approx(expected, rel=1e-4)

    def test_a_perfect_answer_costs_nothing(self):
        labels = torch.randint(0, 3, (2, 4, 4))
        perfect = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()

        assert dice_loss(perfect, labels, smooth=1.0).item() == pytest.approx(0, abs=1e-6)

    def test_the_order_of_pixels_does_not_matter(self):
        probabilities, labels = torch.rand(1, 3, 1, 9).softmax(1), torch.randint(0, 3, (1, 1, 9))
        order = torch.randperm(9)

        shuffled = dice_loss(probabilities[..., order], labels[..., order], smooth=1.0)

        torch.testing.assert_close(shuffled, dice_loss(probabilities, labels, smooth=1.0))


class TestCompound:
    def test_cross_entropy_and_dice_count_alike(self):
        logits, labels = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))

        total = ce_dice_loss(logits, labels, smooth=1.0)

        parts = cross_entropy(logits, labels) + dice_loss(logits.softmax(1), labels, smooth=1.0)
        torch.testing.assert_close(total, parts)

    @pytest.mark.parametrize("name", list(LOSSES))
    def test_every_loss_has_the_gradient_of_finite_differences(self, name):
        logits = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
        labels = torch.randint(0, 3, (1, 2, 3))

        assert torch.autograd.gradcheck(
            lambda values: LOSSES[name](LossConfig(name=name))(values, labels), logits
        )

    def test_even_logits_cost_their_known_value(self):
        logits, labels = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])

        loss = build_loss(LossConfig(name=LossName.CE_DICE))(logits, labels)

        assert loss.item() == pytest.approx(math.log(2) + 1 - (2 * 0.5 + 1) / (2 + 1), abs=1e-6)
