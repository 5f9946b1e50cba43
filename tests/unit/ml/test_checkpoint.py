import dataclasses
import hashlib
import json

import pytest
import torch

from ml.checkpoint import CheckpointError, demo_weights_path, load_checkpoint, save_checkpoint
from ml.config import NetworkConfig
from tests.factories.checkpoints import make_checkpoint


class TestSaveAndLoad:
    def test_everything_comes_back(self, tmp_path):
        checkpoint = make_checkpoint()

        digest = save_checkpoint(checkpoint, tmp_path / "w.safetensors")
        loaded = load_checkpoint(tmp_path / "w.safetensors")

        assert loaded.sha256 == digest
        assert loaded.run_config == checkpoint.run_config
        assert loaded.card == checkpoint.card
        assert all(torch.equal(loaded.weights[k], v) for k, v in checkpoint.weights.items())
        assert [p.name for p in sorted(tmp_path.iterdir())] == ["w.json", "w.safetensors"]

    def test_halved_weights_make_a_working_network(self, tmp_path):
        checkpoint = make_checkpoint()
        halves = {
            k: v.half() if v.is_floating_point() else v for k, v in checkpoint.weights.items()
        }
        save_checkpoint(dataclasses.replace(checkpoint, weights=halves), tmp_path / "w.safetensors")

        network = load_checkpoint(tmp_path / "w.safetensors").build_network()

        assert not network.training
        assert {p.dtype for p in network.parameters()} == {torch.float32}


class TestRefusals:
    @pytest.fixture
    def path(self, tmp_path):
        save_checkpoint(make_checkpoint(), tmp_path / "w.safetensors")
        return tmp_path / "w.safetensors"

    def test_a_changed_byte_in_the_weights(self, path):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

        with pytest.raises(CheckpointError, match="sha256") as caught:
            load_checkpoint(path)
        assert caught.value.path == path

    @pytest.mark.parametrize("suffix", [".json", ".safetensors"])
    def test_a_missing_file(self, path, suffix):
        path.with_suffix(suffix).unlink()

        with pytest.raises(CheckpointError, match="missing"):
            load_checkpoint(path)

    @pytest.mark.parametrize(
        "change", [{"weights_sha256": None}, {"run_config": {"network": {"name": "other"}}}]
    )
    def test_a_card_that_says_nothing_or_nonsense(self, path, change):
        card_path = path.with_suffix(".json")
        card = json.loads(card_path.read_text()) | change
        card_path.write_text(json.dumps({k: v for k, v in card.items() if v is not None}))

        with pytest.raises(CheckpointError, match="card"):
            load_checkpoint(path)

    def test_weights_that_are_no_safetensors(self, path):
        path.write_bytes(b"no weights")
        card_path = path.with_suffix(".json")
        digest = hashlib.sha256(b"no weights").hexdigest()
        card = json.loads(card_path.read_text()) | {"weights_sha256": digest}
        card_path.write_text(json.dumps(card))

        with pytest.raises(CheckpointError, match="cannot be read"):
            load_checkpoint(path)

    def test_weights_of_another_network(self):
        checkpoint = make_checkpoint()
        wider = NetworkConfig(width=0.25)
        config = dataclasses.replace(checkpoint.run_config, network=wider)

        with pytest.raises(CheckpointError, match="not those of the network"):
            dataclasses.replace(checkpoint, run_config=config).build_network()


class TestDemoWeights:
    def test_they_are_what_their_card_says(self):
        checkpoint = load_checkpoint(demo_weights_path())

        assert demo_weights_path().stat().st_size <= 25_000_000
        assert "not for clinical use" in checkpoint.card.intended_use
        assert checkpoint.card.data["source"].startswith("synthetic phantoms")
        parameters = sum(p.numel() for p in checkpoint.build_network().parameters())
        assert parameters == checkpoint.card.parameters

    def test_the_card_names_what_was_promised(self):
        test = load_checkpoint(demo_weights_path()).card.metrics["test"]
        targets = {"Bladder": 0.92, "Rectum": 0.82, "CTV-UV": 0.80, "CTV-N": 0.75}

        assert test["cases"] == 15
        assert {name: test[name]["dice"]["mean"] >= least for name, least in targets.items()} == (
            dict.fromkeys(targets, True)
        )
