from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ml.config import NetworkConfig
from ml.networks.imagenet import EncoderWeightsError, load_imagenet_encoder
from ml.networks.resaunet import ResAUNet
from tests.factories.resnet34 import torchvision_resnet34


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return torchvision_resnet34()


@pytest.fixture(scope="module")
def path(weights, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet34.safetensors"
    save_file(weights, path)
    return path


class TestLoading:
    def test_every_tensor_of_the_encoder_comes_from_the_file(self, weights, path):
        network = ResAUNet(NetworkConfig(), 1)

        load_imagenet_encoder(network, path)

        encoder = network.encoder
        torch.testing.assert_close(encoder.stem.weight, weights["conv1.weight"].sum(1, True))
        loaded = encoder.state_dict()
        for own, theirs in (
            ("conv2.weight", "conv2.weight"),
            ("norm1.running_var", "bn1.running_var"),
            ("shortcut.0.weight", "downsample.0.weight"),
        ):
            assert torch.equal(loaded[f"stages.2.0.{own}"], weights[f"layer3.0.{theirs}"])
        assert torch.equal(encoder.norm.bias, weights["bn1.bias"])
        sums = {round(float(v.double().sum()), 3) for v in weights.values()}
        own = {n: v for n, v in encoder.state_dict().items() if n != "stem.weight"}
        assert all(round(float(v.double().sum()), 3) in sums for v in own.values())

    def test_a_grey_image_is_answered_as_three_equal_channels_are(self, weights, path):
        image = torch.rand(1, 1, 32, 32)
        expected = torch.nn.functional.conv2d(
            image.expand(1, 3, 32, 32), weights["conv1.weight"], stride=2, padding=3
        )

        for channels in (1, 6):
            network = ResAUNet(NetworkConfig(), channels)
            load_imagenet_encoder(network, path)
            found = network.encoder.stem(image.expand(1, channels, 32, 32))
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)

    def test_torchs_own_format_gives_the_same(self, weights, path, tmp_path):
        torch.save(weights, tmp_path / "resnet34.pth")
        first, second = ResAUNet(NetworkConfig(), 2), ResAUNet(NetworkConfig(), 2)

        load_imagenet_encoder(first, path)
        digest = load_imagenet_encoder(second, tmp_path / "resnet34.pth")

        pairs = zip(first.encoder.parameters(), second.encoder.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        assert len(digest) == 64


class TestRefusals:
    @pytest.fixture
    def network(self) -> ResAUNet:
        return ResAUNet(NetworkConfig(), 1)

    def refuse(self, network: ResAUNet, path: Path, reason: str) -> None:
        before = {n: v.clone() for n, v in network.state_dict().items()}
        with pytest.raises(EncoderWeightsError, match=reason):
            load_imagenet_encoder(network, path)
        assert all(torch.equal(before[n], v) for n, v in network.state_dict().items())

    def test_a_missing_tensor(self, network, weights, tmp_path):
        path = tmp_path / "w.safetensors"
        save_file({n: v for n, v in weights.items() if n != "layer2.1.bn2.bias"}, path)

        self.refuse(network, path, "layer2.1.bn2.bias is missing")

    def test_another_shape(self, network, weights, tmp_path):
        path = tmp_path / "w.safetensors"
        save_file(weights | {"layer1.0.conv1.weight": torch.zeros(64, 64, 1, 1)}, path)

        self.refuse(network, path, "layer1.0.conv1.weight has shape")

    def test_a_network_of_another_width(self, path):
        self.refuse(ResAUNet(NetworkConfig(width=0.25), 1), path, "has shape")

    @pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
    def test_what_is_no_weights_file(self, network, tmp_path, name):
        (tmp_path / name).write_bytes(b"no weights at all")

        self.refuse(network, tmp_path / name, "cannot be read")

    def test_a_missing_file(self, network, tmp_path):
        self.refuse(network, tmp_path / "w.pth", "cannot be read")

    def test_a_list_instead_of_named_tensors(self, network, tmp_path):
        torch.save([torch.zeros(1)], tmp_path / "w.pth")

        self.refuse(network, tmp_path / "w.pth", "no named tensors")

    def test_code_in_a_pickle_is_not_run(self, network, tmp_path):
        torch.save({"conv1.weight": Path("/")}, tmp_path / "w.pth")

        self.refuse(network, tmp_path / "w.pth", "cannot be read")
