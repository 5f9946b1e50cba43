import pytest
import torch

from ml.config import FinalUpsampling, GatedInput, NetworkConfig, NetworkName
from ml.networks.blocks import scaled_channels
from ml.networks.resaunet import ResAUNet
from tests.contracts.networks import BaseNetworkTests, parameter_count

TINY = NetworkConfig(width=0.125)


class TestParameterOracles:
    @pytest.mark.parametrize(
        ("config", "expected"),
        [
            (NetworkConfig(), 24_717_317),
            (NetworkConfig(attention_reduction=2), 24_581_637),
            (NetworkConfig(final_upsampling=FinalUpsampling.BILINEAR), 24_690_693),
            (NetworkConfig(presence_head=True), 24_717_317 + 4 * (512 + 1)),
        ],
    )
    def test_the_count_is_the_published_one(self, config, expected):
        assert parameter_count(ResAUNet(config, 1)) == expected

    def test_the_encoder_alone_has_21278400_parameters(self):
        assert parameter_count(ResAUNet(NetworkConfig(), 1).encoder) == 21_278_400

    @pytest.mark.parametrize(
        ("channels", "width", "expected"), [(64, 0.25, 16), (32, 0.125, 8), (512, 1.0, 512)]
    )
    def test_channels_scale_to_multiples_of_eight(self, channels, width, expected):
        assert scaled_channels(channels, width) == expected


class TestResAUNet(BaseNetworkTests):
    name = NetworkName.RESAUNET
    multiple = 32

    def test_feature_maps_halve_five_times(self):
        maps = ResAUNet(TINY, 1).encode(torch.zeros(1, 1, 64, 64))

        assert [tuple(m.shape[2:]) for m in maps] == [(s, s) for s in (32, 16, 8, 4, 2)]


class TestResAUNetWithGatedDecoder(BaseNetworkTests):
    name = NetworkName.RESAUNET
    multiple = 32

    def build(self, input_channels=1, **config):
        return super().build(input_channels, gated_input=GatedInput.DECODER, **config)


class TestResAUNetWithBilinearEnd(BaseNetworkTests):
    name = NetworkName.RESAUNET
    multiple = 32

    def build(self, input_channels=1, **config):
        return super().build(input_channels, final_upsampling=FinalUpsampling.BILINEAR, **config)
