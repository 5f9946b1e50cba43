import math

import pytest
import torch

from ml.config import LossConfig, LossName, LovaszClasses
from ml.losses import LOSSES, build_loss


def loss_of(name: LossName, logits: torch.Tensor, labels: torch.Tensor, **config) -> torch.Tensor:
    return build_loss(LossConfig(name=name, **config))(logits, labels)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))


class TestEveryLoss:
    def test_all_names_are_built(self):
        assert set(LOSSES) == set(LossName)

    @pytest.mark.parametrize("name", list(LossName))
    def test_the_gradient_is_that_of_finite_differences(self, name):
        torch.manual_seed(0)
        logits = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
        labels = torch.randint(0, 3, (1, 2, 3))
        loss = build_loss(LossConfig(name=name))

        assert torch.autograd.gradcheck(lambda values: loss(values, labels), logits)

    @pytest.mark.parametrize("name", list(LossName))
    @pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
    def test_half_precision_is_widened(self, name, kind, batch):
        logits, labels = batch
        halves = logits.to(kind)

        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(name, halves, labels)

        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, loss_of(name, halves.float(), labels))

    @pytest.mark.parametrize("name", list(LossName))
    def test_a_step_along_the_gradient_helps(self, name, batch):
        logits, labels = batch
        logits.requires_grad_()
        before = loss_of(name, logits, labels)
        before.backward()

        after = loss_of(name, logits - 0.1 * logits.grad / logits.grad.norm(), labels)

        assert after < before

    @pytest.mark.parametrize("name", list(LossName))
    def test_a_confident_right_answer_costs_next_to_nothing(self, name, batch):
        labels = batch[1]
        logits = 40 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()

        assert loss_of(name, logits, labels).item() == pytest.approx(0, abs=1e-5)


class TestSums:
    @pytest.mark.parametrize(
        ("name", "second"),
        [(LossName.CE_DICE, LossName.DICE), (LossName.CE_LOVASZ, LossName.LOVASZ)],
    )
    def test_both_parts_count_alike(self, name, second, batch):
        parts = loss_of(LossName.CE, *batch) + loss_of(second, *batch)

        torch.testing.assert_close(loss_of(name, *batch), parts)


class TestSettings:
    """Every setting of the configuration must reach its loss."""

    @pytest.mark.parametrize(
        ("name", "setting"),
        [
            (LossName.CE, {"class_weights": (0.1, 1.0, 3.0)}),
            (LossName.SCE, {"class_weights": (0.1, 1.0, 3.0)}),
            (LossName.SCE, {"sce_alpha": 0.1}),
            (LossName.SCE, {"sce_beta": 1.0}),
            (LossName.SCE, {"sce_log_zero": -9.2}),
            (LossName.DICE, {"dice_smooth": 9.0}),
            (LossName.CE_DICE, {"dice_smooth": 9.0}),
            (LossName.CE_DICE, {"class_weights": (0.1, 1.0, 3.0)}),
            (LossName.CE_LOVASZ, {"class_weights": (0.1, 1.0, 3.0)}),
        ],
    )
    def test_it_changes_the_loss(self, name, setting, batch):
        assert loss_of(name, *batch, **setting) != loss_of(name, *batch)

    @pytest.mark.parametrize("name", [LossName.LOVASZ, LossName.CE_LOVASZ])
    def test_all_classes_count_where_asked(self, name):
        logits, labels = torch.randn(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)

        found = [loss_of(name, logits, labels, lovasz_classes=c) for c in LovaszClasses]

        assert found[0] != found[1]

    def test_even_logits_cost_their_known_value(self):
        logits, labels = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])

        loss = loss_of(LossName.CE_DICE, logits, labels)

        assert loss.item() == pytest.approx(math.log(2) + 1 - (2 * 0.5 + 1) / (2 + 1), abs=1e-6)

    def test_class_weights_are_no_weights_of_the_network(self):
        loss = build_loss(LossConfig(name=LossName.CE, class_weights=(1.0, 2.0)))

        assert not loss.state_dict()
        assert not list(loss.parameters())
