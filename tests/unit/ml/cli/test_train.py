import json

from ml.data.dataset import create_dataset
from tests.unit.ml.cli.conftest import TINY_RUN, call


class TestTrain:
    def test_a_run_says_what_it_came_to(self, dataset, tmp_path):
        result = call("train", dataset, "--out", tmp_path / "run", *TINY_RUN)

        assert result.exit_code == 0
        assert "Bladder    validation Dice" in result.output
        assert (tmp_path / "run/checkpoint.safetensors").exists()
        assert len((tmp_path / "run/epochs.jsonl").read_text().splitlines()) == 1

    def test_a_config_file_repeats_a_run(self, dataset, weights, tmp_path):
        config = weights.parent / "config.json"

        result = call("train", dataset, "--out", tmp_path / "again", "--config", config)

        assert result.exit_code == 0
        assert json.loads((tmp_path / "again/config.json").read_text()) == json.loads(
            config.read_text()
        )

    def test_another_configuration_in_the_same_folder_is_refused(self, dataset, weights):
        result = call("train", dataset, "--out", weights.parent, *TINY_RUN, "--set", "loss.name=ce")

        assert result.exit_code == 2
        assert "another configuration" in result.output

    def test_settings_that_do_not_exist_are_refused_by_name(self, dataset, tmp_path):
        result = call("train", dataset, "--out", tmp_path / "r", "--set", "training.speed=9")

        assert result.exit_code == 2
        assert "training.speed" in result.output
        assert not (tmp_path / "r").exists()

    def test_values_that_cannot_be_are_refused(self, dataset, tmp_path):
        for setting in ("loss.name=mse", "training.learning_rate=0", "training.batch_size"):
            result = call("train", dataset, "--out", tmp_path / "r", "--set", setting)

            assert result.exit_code == 2, setting

    def test_a_dataset_without_a_split_is_refused(self, tmp_path):
        create_dataset(tmp_path / "d", "unsplit")

        result = call("train", tmp_path / "d", "--out", tmp_path / "r")

        assert result.exit_code == 2
        assert "cervicontour split" in result.output

    def test_a_loss_that_is_no_number_is_an_error(self, dataset, tmp_path):
        wild = ("--set", "training.learning_rate=1e30", "--set", "training.precision=float32")
        more = ("--set", "training.max_epochs=2")

        result = call("train", dataset, "--out", tmp_path / "r", *TINY_RUN, *wild, *more)

        assert result.exit_code == 2
        assert "stopped before the update" in result.output
