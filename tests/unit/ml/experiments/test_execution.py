import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ml.checkpoint import load_checkpoint
from ml.experiments.execution import (
    CHECKPOINT_FILE,
    EPOCHS_FILE,
    OUTCOME_FILE,
    ExperimentError,
    RunStoppedError,
    cache_crops,
    execute_run,
    read_outcome,
)
from ml.planning.plan import PlannedRun, plan_training, with_settings
from ml.planning.ranking import RunOutcome
from ml.training.reporter import FileReporter
from tests.factories.resnet34 import torchvision_resnet34


class StopsAfter(FileReporter):
    def __init__(self, path, epochs: int) -> None:
        super().__init__(path)
        self.left = epochs

    def epoch_finished(self, report) -> None:
        super().epoch_finished(report)
        self.left -= 1

    def should_stop(self) -> bool:
        return self.left <= 0


def lengthened(run: PlannedRun, epochs: int) -> PlannedRun:
    return dataclasses.replace(
        run, config=with_settings(run.config, {"training.max_epochs": epochs})
    )


def link_files(folder: Path, target: Path) -> None:
    """Give every file of a folder a second name in another."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        link = target / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(path)


def content_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(tiny_config) -> PlannedRun:
    return plan_training(tiny_config, [0], "tiny")[0]


class TestExecuteRun:
    def test_a_run_leaves_weights_that_explain_themselves(self, run, run_data, tmp_path):
        outcome = execute_run(run, run_data, tmp_path / "run")

        checkpoint = load_checkpoint(tmp_path / "run" / CHECKPOINT_FILE)
        assert outcome.epochs == 2
        assert checkpoint.run_config == run.config
        assert checkpoint.card.metrics["validation"]["dice"] == outcome.validation_dice
        assert checkpoint.card.parameters > 0
        assert read_outcome(tmp_path / "run") == outcome

    def test_a_finished_run_is_read_not_repeated(self, run, run_data, tmp_path):
        first = execute_run(run, run_data, tmp_path / "run")
        weights = (tmp_path / "run" / CHECKPOINT_FILE).stat().st_mtime_ns

        assert execute_run(run, run_data, tmp_path / "run") == first
        assert (tmp_path / "run" / CHECKPOINT_FILE).stat().st_mtime_ns == weights

    def test_a_stopped_run_goes_on_to_the_same_weights(self, run, run_data, tmp_path):
        whole = tmp_path / "whole"
        halved = tmp_path / "halved"
        execute_run(run, run_data, whole)

        with pytest.raises(RunStoppedError):
            execute_run(run, run_data, halved, StopsAfter(tmp_path / "epochs.jsonl", 1))
        assert read_outcome(halved) is None
        execute_run(run, run_data, halved)

        digests = [load_checkpoint(folder / CHECKPOINT_FILE).sha256 for folder in (whole, halved)]
        assert digests[0] == digests[1]

    def test_a_run_whose_time_is_up_keeps_its_best_weights(self, run, run_data, tmp_path):
        hurried = with_settings(run.config, {"training.max_seconds": 1e-9})

        outcome = execute_run(dataclasses.replace(run, config=hurried), run_data, tmp_path / "run")

        assert (outcome.epochs, outcome.failure) == (1, None)
        assert load_checkpoint(tmp_path / "run" / CHECKPOINT_FILE).run_config == hurried

    def test_a_stop_while_the_best_weights_are_measured_leaves_the_run_to_be_finished(
        self, run, run_data, tmp_path
    ):
        reporter = StopsAfter(tmp_path / "epochs.jsonl", run.config.training.max_epochs)

        with pytest.raises(RunStoppedError):
            execute_run(run, run_data, tmp_path / "run", reporter)
        assert read_outcome(tmp_path / "run") is None

        assert execute_run(run, run_data, tmp_path / "run").epochs == 2

    def test_a_folder_of_another_run_is_refused(self, run, run_data, tmp_path):
        execute_run(run, run_data, tmp_path / "run")
        other = dataclasses.replace(run, config=with_settings(run.config, {"loss.name": "ce"}))

        with pytest.raises(ExperimentError, match="another configuration"):
            execute_run(other, run_data, tmp_path / "run")

    def test_a_loss_that_is_no_number_is_a_failure_with_its_reason(self, run, run_data, tmp_path):
        wild = with_settings(
            run.config, {"training.learning_rate": 1e30, "training.precision": "float32"}
        )

        outcome = execute_run(dataclasses.replace(run, config=wild), run_data, tmp_path / "run")

        assert outcome.failure is not None
        assert "stopped before the update" in outcome.failure
        assert outcome.failure_code == "non_finite_loss"
        assert not (tmp_path / "run" / CHECKPOINT_FILE).exists()
        assert json.loads((tmp_path / "run" / OUTCOME_FILE).read_text())["failure"]

    def test_a_finished_run_goes_on_if_it_is_asked_for_more(self, run, run_data, tmp_path):
        longer = lengthened(run, 3)
        # the learning rate is constant here: another course would follow from the number of epochs
        execute_run(run, run_data, tmp_path / "parts")

        outcome = execute_run(longer, run_data, tmp_path / "parts")
        execute_run(longer, run_data, tmp_path / "whole")

        assert outcome.epochs == 3
        digests = [
            load_checkpoint(tmp_path / name / CHECKPOINT_FILE).sha256 for name in ("parts", "whole")
        ]
        assert digests[0] == digests[1]
        assert read_outcome(tmp_path / "parts") == outcome

    @pytest.mark.parametrize("is_finished", [True, False])
    def test_a_folder_of_links_goes_on_and_leaves_the_other_folder_as_it_is(
        self, run, run_data, tmp_path, is_finished
    ):
        origin, linked = tmp_path / "origin", tmp_path / "linked"
        if is_finished:
            execute_run(run, run_data, origin)
        else:
            with pytest.raises(RunStoppedError):
                execute_run(run, run_data, origin, StopsAfter(origin / EPOCHS_FILE, 1))
        for left in ("config.json.part", "training/state.pt.part", "epochs.jsonl.part"):
            (origin / left).write_bytes(b"torn")
        link_files(origin, linked)
        before = content_of(origin)

        outcome = execute_run(lengthened(run, 3), run_data, linked)

        assert content_of(origin) == before
        assert outcome.epochs == 3
        assert len((linked / EPOCHS_FILE).read_text().splitlines()) == 3


class TestReadOutcome:
    @pytest.mark.parametrize(
        ("failure", "code"), [(None, None), ("the loss became nan", "non_finite_loss")]
    )
    def test_an_outcome_from_before_failures_had_codes_is_read(self, tmp_path, failure, code):
        values = {
            "label": "a",
            "seed": 0,
            "validation_loss": 0.5,
            "validation_dice": {"Bladder": 0.5},
            "epochs": 2,
            "failure": failure,
        }
        (tmp_path / OUTCOME_FILE).write_text(json.dumps(values))

        assert read_outcome(tmp_path) == RunOutcome(**values, failure_code=code)


class TestEncoderWeights:
    def test_a_run_starts_from_them_and_records_their_hash(self, tiny_config, run_data, tmp_path):
        path, weights = tmp_path / "resnet34.safetensors", torchvision_resnet34()
        save_file(weights, path)
        hardly = {"network.width": 1.0, "training.max_epochs": 1, "training.learning_rate": 1e-12}
        config = with_settings(tiny_config, hardly)
        run = plan_training(config, [0], "pretrained")[0]

        execute_run(run, dataclasses.replace(run_data, encoder_weights=path), tmp_path / "run")

        checkpoint = load_checkpoint(tmp_path / "run" / CHECKPOINT_FILE)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert checkpoint.card.data["encoder_weights_sha256"] == digest
        torch.testing.assert_close(
            checkpoint.weights["encoder.stages.1.0.conv1.weight"], weights["layer2.0.conv1.weight"]
        )

    def test_other_networks_have_no_place_for_them(self, tiny_config, run_data, tmp_path):
        path = tmp_path / "resnet34.safetensors"
        save_file(torchvision_resnet34(), path)
        config = with_settings(tiny_config, {"network.name": "unet"})
        data = dataclasses.replace(run_data, encoder_weights=path)

        with pytest.raises(ExperimentError, match="ResAU-Net alone"):
            execute_run(plan_training(config, [0], "x")[0], data, tmp_path / "run")


class TestCacheCrops:
    def test_runs_of_one_preprocessing_share_their_crops(self, run, run_data):
        other = with_settings(run.config, {"loss.name": "ce"})

        cache_crops([run.config, other], run_data, 1)

        assert len(list(run_data.crops.iterdir())) == 1


def test_a_run_no_epoch_of_which_can_be_validated_fails(tiny_config, run_data, tmp_path) -> None:
    config = with_settings(tiny_config, {"training.learning_rate": 1e30, "training.max_epochs": 1})

    outcome = execute_run(plan_training(config, [0], "wild")[0], run_data, tmp_path / "run")

    assert outcome.failure_code == "non_finite_loss"
    assert not (tmp_path / "run" / CHECKPOINT_FILE).exists()
