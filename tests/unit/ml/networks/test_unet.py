import pytest
import torch

from ml.config import NetworkConfig, NetworkName
from ml.networks.unet import UNet
from tests.contracts.networks import BaseNetworkTests, parameter_count


class TestUNet(BaseNetworkTests):
    name = NetworkName.UNET
    multiple = 16

    @pytest.mark.parametrize(("width", "expected"), [(1.0, 31_036_741), (0.5, 7_762_597)])
    def test_the_parameter_count_is_the_published_one(self, width, expected):
        assert parameter_count(UNet(NetworkConfig(width=width), 1)) == expected

    def test_feature_maps_start_at_full_size_and_halve_four_times(self, network):
        maps = network.encode(torch.zeros(1, 1, 64, 64))

        assert [tuple(m.shape[2:]) for m in maps] == [(s, s) for s in (64, 32, 16, 8, 4)]
