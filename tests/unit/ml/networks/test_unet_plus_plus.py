import pytest
import torch

from ml.config import NetworkConfig, NetworkName
from ml.networks.unet_plus_plus import UNetPlusPlus
from tests.contracts.networks import BaseNetworkTests, parameter_count


class TestUNetPlusPlus(BaseNetworkTests):
    name = NetworkName.UNET_PLUS_PLUS
    multiple = 16

    @pytest.mark.parametrize(("width", "expected"), [(1.0, 36_622_420), (0.5, 9_159_732)])
    def test_the_parameter_count_is_the_published_one(self, width, expected):
        assert parameter_count(UNetPlusPlus(NetworkConfig(width=width), 1)) == expected

    def test_ten_nodes_lie_beyond_the_encoder(self, network):
        assert [len(column) for column in network.columns] == [4, 3, 2, 1]

    def test_logits_are_the_mean_of_four_heads(self, network):
        images = torch.rand(1, 1, 32, 32)
        outputs: list[torch.Tensor] = []
        hooks = [
            head.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
            for head in network.heads
        ]

        with torch.inference_mode():
            logits = network(images)
        for hook in hooks:
            hook.remove()

        assert len(outputs) == 4
        torch.testing.assert_close(logits, sum(outputs) / 4)
