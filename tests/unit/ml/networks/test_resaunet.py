import pytest
import torch

from ml.config import GatedInput, NetworkConfig
from ml.networks import NETWORKS, build_network
from ml.networks.blocks import channels_last
from ml.networks.resaunet import ImageSizeError, ResAUNet, scaled_channels

TINY = NetworkConfig(width=0.125)


def parameter_count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


class TestParameterOracles:
    def test_the_papers_network_has_24717317_parameters(self):
        assert parameter_count(build_network(NetworkConfig())) == 24_717_317

    def test_halved_attention_has_24581637_parameters(self):
        assert parameter_count(build_network(NetworkConfig(attention_reduction=2))) == 24_581_637

    def test_the_encoder_alone_has_21278400_parameters(self):
        assert parameter_count(ResAUNet(NetworkConfig()).encoder) == 21_278_400

    @pytest.mark.parametrize(
        ("channels", "width", "expected"), [(64, 0.25, 16), (32, 0.125, 8), (512, 1.0, 512)]
    )
    def test_channels_scale_to_multiples_of_eight(self, channels, width, expected):
        assert scaled_channels(channels, width) == expected


class TestEveryNetwork:
    @pytest.mark.parametrize("name", list(NETWORKS))
    def test_logits_have_the_images_size(self, name):
        network = build_network(NetworkConfig(name=name, width=0.125)).eval()

        logits = network(torch.rand(2, 1, 64, 96))

        assert logits.shape == (2, 5, 64, 96)

    @pytest.mark.parametrize("name", list(NETWORKS))
    def test_every_parameter_learns(self, name):
        network = build_network(NetworkConfig(name=name, width=0.125)).train()

        network(torch.rand(2, 1, 64, 64)).square().mean().backward()

        still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        assert still == []

    @pytest.mark.parametrize("name", list(NETWORKS))
    def test_slices_of_a_batch_do_not_touch_each_other(self, name):
        network = build_network(NetworkConfig(name=name, width=0.125)).eval()
        images = torch.rand(3, 1, 64, 64)

        with torch.inference_mode():
            together, alone = network(images), network(images[1:2])

        torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-4)


class TestResAUNet:
    @pytest.mark.parametrize("shape", [(1, 1, 60, 64), (1, 1, 64, 48)])
    def test_sizes_that_do_not_halve_five_times_are_refused(self, shape):
        with pytest.raises(ImageSizeError) as caught:
            build_network(TINY)(torch.zeros(shape))

        assert (caught.value.rows, caught.value.columns) == shape[2:]

    def test_feature_maps_halve_five_times(self):
        maps = ResAUNet(TINY).encoder(torch.zeros(1, 1, 64, 64))

        assert [tuple(m.shape[2:]) for m in maps] == [(s, s) for s in (32, 16, 8, 4, 2)]

    def test_decoder_gating_gives_another_network_of_working_size(self):
        config = NetworkConfig(width=0.125, gated_input=GatedInput.DECODER)

        logits = build_network(config).eval()(torch.rand(1, 1, 64, 64))

        assert logits.shape == (1, 5, 64, 64)

    def test_one_seed_gives_one_start(self):
        weights = []
        for _ in range(2):
            torch.manual_seed(3)
            weights.append(build_network(TINY).state_dict())

        assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])

    def test_memory_layout_does_not_change_the_answer(self):
        network = build_network(TINY).eval()
        images = torch.rand(2, 1, 64, 64)

        with torch.inference_mode():
            plain = network(images)
            turned = channels_last(network)(images.to(memory_format=torch.channels_last))

        torch.testing.assert_close(plain, turned, atol=1e-5, rtol=1e-4)
