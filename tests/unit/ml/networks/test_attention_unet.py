import pytest
import torch

from ml.config import NetworkConfig, NetworkName
from ml.networks.attention_unet import AttentionUNet, SpatialAttention
from ml.networks.unet import UNet
from tests.contracts.networks import BaseNetworkTests, parameter_count


class TestAttentionUNet(BaseNetworkTests):
    name = NetworkName.ATTENTION_UNET
    multiple = 16

    def test_the_gates_add_351532_parameters_to_the_unet(self):
        config = NetworkConfig()

        added = parameter_count(AttentionUNet(config, 1)) - parameter_count(UNet(config, 1))

        assert added == 351_532


class TestSpatialAttention:
    @pytest.fixture
    def gate_block(self) -> SpatialAttention:
        torch.manual_seed(0)
        return SpatialAttention(8).eval()

    def test_one_pixel_by_hand(self):
        block = SpatialAttention(2).eval()
        for part in (block.from_features, block.from_gate, block.to_weights):
            _fill(part, weight=1.0)
        _fill(block.to_weights, weight=-0.5)
        features = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1)
        gate = torch.tensor([0.5, -1.5]).reshape(1, 2, 1, 1)

        out = block(features, gate)

        # fresh norms divide by sqrt(1 + 1e-5): ReLU(3 - 1) = 2, sigmoid(-.5 x 2) = .268941
        expected = 0.268941 * features
        torch.testing.assert_close(out, expected, atol=1e-4, rtol=0)

    def test_a_pixel_is_scaled_by_one_factor_in_all_channels(self, gate_block):
        features, gate = torch.rand(2, 8, 5, 7) + 0.1, torch.randn(2, 8, 5, 7)

        factors = gate_block(features, gate) / features

        torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
        assert factors.min() > 0
        assert factors.max() < 1

    def test_weights_differ_between_pixels(self, gate_block):
        weights = gate_block.weights(torch.rand(1, 8, 4, 4), torch.randn(1, 8, 4, 4))

        assert weights.std() > 0

    def test_the_gate_moves_the_weights(self, gate_block):
        features, gate = torch.rand(1, 8, 4, 4), torch.randn(1, 8, 4, 4)

        moved = gate_block.weights(features, gate) != gate_block.weights(features, gate + 5)

        assert moved.any()


def _fill(part: torch.nn.Sequential, *, weight: float) -> None:
    convolution = part[0]
    assert isinstance(convolution, torch.nn.Conv2d)
    assert convolution.bias is not None
    torch.nn.init.constant_(convolution.weight, weight)
    torch.nn.init.zeros_(convolution.bias)
