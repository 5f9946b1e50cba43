import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ml.config import NetworkConfig, Precision, RunConfig
from ml.training.objective import Objective
from ml.training.state import start_state
from ml.training.step import NonFiniteLossError, train_step
from tests.factories.cases import tiny_run

CPU = torch.device("cpu")


class PixelObjective(Objective):
    """Mean cross entropy over pixels, times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.sizes: list[int] = []

    def __call__(self, network, images, labels):
        self.sizes.append(len(images))
        logits = network(images)
        return F.cross_entropy(logits, labels) * self.factor, logits


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 1, 8, 8, generator=generator)
    return images, torch.randint(0, 5, (6, 8, 8), generator=generator)


def step(network: nn.Module, batch, objective: Objective, micro: int | None = None) -> float:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return train_step(network, objective, optimizer, scaler, batch, micro)


class TestTrainStep:
    @pytest.mark.parametrize("micro", [1, 2, 3, 4])
    def test_micro_batches_add_up_to_the_whole_without_norms(self, batch, micro):
        whole = nn.Conv2d(1, 5, 3, padding=1)
        parts, objective = copy.deepcopy(whole), PixelObjective()

        losses = step(whole, batch, PixelObjective()), step(parts, batch, objective, micro)

        assert max(objective.sizes) == micro
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
        torch.testing.assert_close(parts.weight, whole.weight)
        torch.testing.assert_close(parts.bias, whole.bias)

    @pytest.mark.parametrize("factor", [math.nan, math.inf])
    def test_a_loss_that_is_not_finite_leaves_the_weights(self, batch, factor):
        network = nn.Conv2d(1, 5, 3, padding=1)
        before = network.weight.detach().clone()

        with pytest.raises(NonFiniteLossError) as caught:
            step(network, batch, PixelObjective(factor), 2)

        assert not math.isfinite(caught.value.value)
        assert torch.equal(network.weight, before)

    def test_the_scaler_does_not_change_the_update(self, batch):
        plain = nn.Conv2d(1, 5, 3, padding=1)
        scaled = copy.deepcopy(plain)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

        step(plain, batch, PixelObjective())
        optimizer = torch.optim.SGD(scaled.parameters(), lr=0.5)
        train_step(scaled, PixelObjective(), optimizer, scaler, batch)

        torch.testing.assert_close(scaled.weight, plain.weight)

    def test_an_overflow_skips_the_update_and_lowers_the_scale(self, batch):
        network = nn.Conv2d(1, 5, 3, padding=1)
        before = network.weight.detach().clone()
        scaler = torch.amp.GradScaler("cpu", init_scale=3e38)

        optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
        train_step(network, PixelObjective(100.0), optimizer, scaler, batch)

        assert torch.equal(network.weight, before)
        assert scaler.get_scale() < 3e38


class TestObjective:
    def objective_of(self, presence_weight: float, batch) -> float:
        config = RunConfig.from_dict(
            tiny_run().to_dict()
            | {"network": {"width": 0.125, "presence_head": True}}
            | {"loss": {"name": "ce", "presence_weight": presence_weight}}
        )
        state = start_state(config, CPU)
        images, labels = torch.rand(2, 1, 64, 64), torch.zeros(2, 64, 64, dtype=torch.long)
        torch.manual_seed(0)
        loss, _ = Objective(config, CPU)(state.network.eval(), images * 0 + 0.5, labels)
        return loss.item()

    def test_presence_is_added_by_its_weight(self, batch):
        none, half, whole = (self.objective_of(w, batch) for w in (0.0, 0.5, 1.0))

        assert whole > none
        assert half - none == pytest.approx((whole - none) / 2, rel=1e-3)

    @pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
    def test_narrow_convolutions_come_close_and_losses_stay_float32(self, precision):
        images, labels = torch.rand(2, 1, 64, 64), torch.zeros(2, 64, 64, dtype=torch.long)
        results = []
        for chosen in (Precision.FLOAT32, precision):
            config = tiny_run(precision=chosen)
            network = start_state(config, CPU).network.eval()
            results.append(Objective(config, CPU)(network, images, labels))

        assert results[1][0].dtype is results[1][1].dtype is torch.float32
        assert not torch.equal(results[0][1], results[1][1])
        torch.testing.assert_close(results[0][0], results[1][0], rtol=0.05, atol=0.05)

    def test_without_the_head_the_networks_presence_is_not_asked_for(self):
        config = tiny_run()
        assert config.network == NetworkConfig(width=0.125)

        loss, logits = Objective(config, CPU)(
            start_state(config, CPU).network,
            torch.rand(2, 1, 64, 64),
            torch.zeros(2, 64, 64).long(),
        )

        assert logits.shape == (2, 5, 64, 64)
        assert loss.isfinite()
