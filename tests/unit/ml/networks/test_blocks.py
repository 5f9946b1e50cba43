import pytest
import torch

from ml.networks.blocks import ChannelAttention


@pytest.fixture
def oracle_block() -> ChannelAttention:
    """The block computed by hand: Wg = I, Wx = -I, Phi q = [[1, 2], [-1, 3]] r, no biases."""
    block = ChannelAttention(2, 2)
    with torch.no_grad():
        for linear in (block.from_gate, block.from_features, block.to_weights):
            linear.bias.zero_()
        block.from_gate.weight.copy_(torch.eye(2))
        block.from_features.weight.copy_(-torch.eye(2))
        block.to_weights.weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 3.0]]))
    return block


@pytest.fixture
def gate() -> torch.Tensor:
    return torch.tensor([[1.0, 3.0], [0.0, 2.0]]).reshape(1, 2, 1, 2)


@pytest.fixture
def features() -> torch.Tensor:
    return torch.tensor([[2.0, 0.0], [4.0, 2.0]]).reshape(1, 2, 1, 2)


class TestChannelAttention:
    def test_equations_1_to_5_give_the_hand_computed_output(self, oracle_block, features, gate):
        weights = oracle_block.weights(features, gate)
        out = oracle_block(features, gate)

        torch.testing.assert_close(weights, torch.tensor([[0.731059, 0.268941]]))
        expected = torch.tensor([[1.462117, 0.0], [1.075766, 0.537883]]).reshape(1, 2, 1, 2)
        torch.testing.assert_close(out, expected)

    def test_without_a_last_map_everything_is_halved(self, features, gate):
        block = ChannelAttention(2, 2)
        torch.nn.init.zeros_(block.to_weights.weight)
        torch.nn.init.zeros_(block.to_weights.bias)

        assert torch.equal(block(features, gate), features / 2)

    def test_a_channel_is_scaled_by_one_factor_between_0_and_1(self):
        features, gate = torch.rand(2, 6, 5, 7) + 0.1, torch.randn(2, 3, 5, 7)

        factors = ChannelAttention(6, 3)(features, gate) / features

        assert torch.allclose(factors, factors[:, :, :1, :1].expand_as(factors), atol=1e-6)
        assert factors.min() > 0
        assert factors.max() < 1

    def test_only_the_gates_mean_matters(self, oracle_block):
        features = torch.rand(1, 2, 4, 4)
        gate = torch.randn(1, 2, 4, 4)
        shuffled = gate.flatten(2)[:, :, torch.randperm(16)].reshape(gate.shape)

        torch.testing.assert_close(oracle_block(features, gate), oracle_block(features, shuffled))

    def test_gradients_reach_all_maps_and_both_inputs(self, features, gate):
        torch.manual_seed(0)
        block = ChannelAttention(2, 2)
        torch.nn.init.constant_(block.from_gate.bias, 10.0)  # keeps the hidden layer awake
        features.requires_grad_()
        gate.requires_grad_()

        block(features, gate).square().sum().backward()

        reached = [features, gate, *(p for n, p in block.named_parameters() if "weight" in n)]
        assert all(t.grad is not None and t.grad.any() for t in reached)

    def test_reduction_narrows_the_hidden_layer(self):
        block = ChannelAttention(32, 64, reduction=16)

        assert block.to_weights.in_features == 2
