import dataclasses
import json

import pytest
import torch

from ml.config import Precision, RunConfig
from ml.training.early_stopping import EarlyStopping
from ml.training.state import StateMismatchError, load_or_start, load_state, save_state, start_state
from tests.factories.cases import tiny_run

CPU = torch.device("cpu")


class TestState:
    def test_generators_and_scaler_go_on_where_they_were(self, tmp_path):
        config = tiny_run(precision=Precision.FLOAT16)
        state = start_state(config, CPU)
        state.scaler.scale(torch.ones(1))
        state.scaler.update(4.0)
        state.slice_generator.random()
        torch.rand(3, generator=state.augmentation_generator)
        save_state(state, config, tmp_path)

        loaded = load_state(config, tmp_path, CPU)

        assert loaded.scaler.get_scale() == 4.0
        assert loaded.slice_generator.random() == state.slice_generator.random()
        after = [
            torch.rand(3, generator=s.augmentation_generator).tolist() for s in (state, loaded)
        ]
        assert after[0] == after[1]

    @pytest.mark.parametrize("change", [{"learning_rate": 0.1}, {"batch_size": 4}, {"seed": 3}])
    def test_the_state_of_another_run_is_refused(self, tmp_path, change):
        config = tiny_run()
        save_state(start_state(config, CPU), config, tmp_path)

        with pytest.raises(StateMismatchError, match="other settings"):
            load_or_start(tiny_run(**change), tmp_path, CPU)

    def test_a_run_may_go_on_for_longer_and_be_processed_otherwise(self, tmp_path):
        config = tiny_run()
        save_state(start_state(config, CPU), config, tmp_path)
        longer: RunConfig = tiny_run(max_epochs=9, max_seconds=60.0, patience=2)
        longer = dataclasses.replace(
            longer, postprocessing=dataclasses.replace(longer.postprocessing, fill_gap_slices=2)
        )

        assert load_or_start(longer, tmp_path, CPU).early_stopping.patience == 2

    def test_a_state_from_before_time_was_kept_goes_on(self, tmp_path):
        config = tiny_run()
        save_state(start_state(config, CPU), config, tmp_path)
        values = torch.load(tmp_path / "state.pt", weights_only=True)
        settings = json.loads(values["config"])
        del values["seconds"], settings["training"]["max_seconds"]
        torch.save(values | {"config": json.dumps(settings)}, tmp_path / "state.pt")

        assert load_state(config, tmp_path, CPU).seconds == 0

    def test_without_a_state_a_run_starts(self, tmp_path):
        assert load_or_start(tiny_run(), tmp_path, CPU).epoch == 0

    @pytest.mark.parametrize(
        ("values", "is_over"),
        [
            ({}, False),
            ({"epoch": 3, "seconds": 59.0}, False),
            ({"epoch": 4}, True),
            ({"seconds": 60.0}, True),
            ({"early_stopping": EarlyStopping(patience=2, epochs_without_improvement=2)}, True),
        ],
    )
    def test_epochs_time_and_patience_end_a_run(self, values, is_over):
        config = tiny_run(max_epochs=4, max_seconds=60.0)
        state = dataclasses.replace(start_state(config, CPU), **values)

        assert state.is_over(config.training) == is_over

    def test_only_float16_scales_gradients(self):
        scaled = [
            p for p in Precision if start_state(tiny_run(precision=p), CPU).scaler.is_enabled()
        ]

        assert scaled == [Precision.FLOAT16]
