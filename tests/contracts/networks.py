"""What every network must do, as tests that each network's own class inherits."""

from itertools import pairwise

import pytest
import torch

from ml.config import NetworkConfig, NetworkName
from ml.networks import build_network
from ml.networks.base import ImageSizeError, NoPresenceHeadError, SegmentationNetwork
from ml.networks.blocks import channels_last

WIDTH = 0.125


ROUNDING_ERROR = 1e-6
"""Of a gradient in single precision: those of the contract are hundreds of times as large."""


def biases_before_norms(network: torch.nn.Module) -> set[str]:
    """Name the biases that a batch normalisation takes out again, whatever they are.

    Their gradient is nought up to rounding, which differs between processors.
    """
    return {
        f"{name}.{place}.bias"
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Sequential)
        for place, (layer, after) in enumerate(pairwise(module))
        if isinstance(after, torch.nn.BatchNorm2d) and getattr(layer, "bias", None) is not None
    }


def parameter_count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


class BaseNetworkTests:
    """Tests of the contract; a subclass sets the fields."""

    name: NetworkName
    multiple: int

    def build(self, input_channels: int = 1, **config) -> SegmentationNetwork:
        torch.manual_seed(0)
        values = {"name": self.name, "width": WIDTH} | config
        return build_network(NetworkConfig(**values), input_channels)

    @pytest.fixture
    def network(self) -> SegmentationNetwork:
        return self.build().eval()

    @pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 3), (2, 1)])
    def test_logits_have_the_size_of_the_images(self, network, rows, columns):
        shape = (rows * self.multiple, columns * self.multiple)

        assert network(torch.rand(2, 1, *shape)).shape == (2, 5, *shape)

    @pytest.mark.parametrize(("extra_rows", "extra_columns"), [(1, 0), (0, 8)])
    def test_sizes_that_do_not_halve_are_refused(self, network, extra_rows, extra_columns):
        rows, columns = 64 + extra_rows, 64 + extra_columns

        with pytest.raises(ImageSizeError, match=f"multiples of {self.multiple}") as caught:
            network(torch.zeros(1, 1, rows, columns))

        assert (caught.value.rows, caught.value.columns) == (rows, columns)

    def test_every_parameter_learns(self):
        network = self.build(presence_head=True).train()

        logits, presence = network.forward_with_presence(torch.rand(2, 1, 64, 64))
        (logits.square().mean() + presence.square().mean()).backward()

        taken_out = biases_before_norms(network)
        gradients = {n: p.grad for n, p in network.named_parameters() if n not in taken_out}
        still = [n for n, g in gradients.items() if g is None or g.abs().max() < ROUNDING_ERROR]
        assert still == []

    def test_two_passes_are_equal_bit_by_bit(self, network):
        images = torch.rand(2, 1, 64, 64)

        with torch.inference_mode():
            assert torch.equal(network(images), network(images))

    def test_slices_of_a_batch_do_not_touch_each_other(self, network):
        images = torch.rand(3, 1, 64, 64)

        with torch.inference_mode():
            together, alone = network(images), network(images[1:2])

        torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=1e-4)

    def test_all_input_channels_count(self):
        network = self.build(input_channels=3).eval()
        images = torch.rand(1, 3, 64, 64, requires_grad=True)

        network(images).square().sum().backward()

        assert images.grad is not None
        assert images.grad.flatten(2).any(dim=2).all()

    def test_one_seed_gives_one_start(self):
        first, second = self.build().state_dict(), self.build().state_dict()

        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_another_seed_gives_another_start(self):
        first = self.build().state_dict()
        torch.manual_seed(1)
        second = build_network(NetworkConfig(name=self.name, width=WIDTH)).state_dict()

        assert any(not torch.equal(first[name], second[name]) for name in first)

    def test_memory_layout_does_not_change_the_answer(self):
        network = self.build().eval()
        images = torch.rand(2, 1, 64, 64)

        with torch.inference_mode():
            plain = network(images)
            turned = channels_last(network)(images.to(memory_format=torch.channels_last))

        torch.testing.assert_close(plain, turned, atol=1e-4, rtol=1e-4)

    def test_presence_is_one_logit_for_each_structure_and_slice(self):
        network = self.build(presence_head=True).eval()
        images = torch.rand(3, 1, 64, 64)

        with torch.inference_mode():
            logits, presence = network.forward_with_presence(images)
            without = network(images)

        assert presence.shape == (3, 4)
        assert torch.equal(logits, without)

    def test_presence_reads_the_mean_of_the_bottleneck(self):
        network = self.build(presence_head=True).eval()
        assert network.presence is not None
        images = torch.rand(2, 1, 64, 64)

        with torch.inference_mode():
            bottleneck = network.encode(images)[-1]
            _, presence = network.forward_with_presence(images)

        expected = bottleneck.mean(dim=(2, 3)) @ network.presence.weight.T + network.presence.bias
        torch.testing.assert_close(presence, expected)

    def test_presence_without_its_head_is_refused(self, network):
        with pytest.raises(NoPresenceHeadError):
            network.forward_with_presence(torch.zeros(1, 1, 64, 64))
