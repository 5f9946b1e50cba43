import json
import math

import pytest

from ml.config import (
    PAPER_WINDOW,
    WIDE_WINDOW,
    ConfigError,
    GatedInput,
    LossConfig,
    LossName,
    NetworkConfig,
    OptimizerName,
    PostprocessingConfig,
    Precision,
    PreprocessingConfig,
    RunConfig,
    ScheduleName,
    TrainingConfig,
)

RICH = RunConfig(
    preprocessing=PreprocessingConfig(
        windows=(PAPER_WINDOW, WIDE_WINDOW),
        context_mm=(-5.0, 0.0, 5.0),
        crop_size_px=128,
        pixel_spacing_mm=1.5,
    ),
    network=NetworkConfig(width=0.5, gated_input=GatedInput.DECODER, presence_head=True),
    loss=LossConfig(name=LossName.SCE, class_weights=(1.0, 2.0, 2.0, 1.0, 3.0)),
    training=TrainingConfig(
        optimizer=OptimizerName.ADAMW,
        schedule=ScheduleName.POLY,
        precision=Precision.BFLOAT16,
        slices_per_epoch=100,
        max_seconds=3600.0,
    ),
    postprocessing=PostprocessingConfig(
        thresholds=(0.5, 0.4, 0.6, 0.5), presence_gate=(0.3, 0.7), fill_gap_slices=2
    ),
)


class TestRunConfig:
    def test_it_survives_json(self):
        again = RunConfig.from_dict(json.loads(json.dumps(RICH.to_dict())))

        assert again == RICH
        assert isinstance(again.training.schedule, ScheduleName)

    def test_what_is_not_said_is_the_default(self):
        assert RunConfig.from_dict({}) == RunConfig()

    @pytest.mark.parametrize(
        ("values", "name", "reason"),
        [
            ({"training": {"patients": 3}}, "training.patients", "no such setting"),
            ({"trainings": {}}, "trainings", "no such setting"),
            ({"training": 3}, "training", "an object"),
            ({"network": {"name": "vgg"}}, "network.name", "one of resaunet, unet"),
            ({"training": {"optimizer": 1}}, "training.optimizer", "one of adam"),
            ({"training": {"batch_size": "16"}}, "training.batch_size", "must be int"),
            ({"training": {"batch_size": True}}, "training.batch_size", "must be int"),
            ({"training": {"learning_rate": None}}, "training.learning_rate", "must be float"),
            ({"preprocessing": {"context_mm": 5}}, "preprocessing.context_mm", "a list"),
            ({"postprocessing": {"presence_gate": [0.5]}}, "postprocessing.presence_gate", "2"),
        ],
    )
    def test_what_cannot_be_read_is_refused_by_name(self, values, name, reason):
        with pytest.raises(ConfigError, match=reason) as refused:
            RunConfig.from_dict(values)

        assert refused.value.name == name

    @pytest.mark.parametrize(
        ("part", "values"),
        [
            ("training", {"learning_rate": 0}),
            ("training", {"learning_rate": -1e-3}),
            ("training", {"batch_size": 0}),
            ("training", {"batch_size": 16, "micro_batch_size": 5}),
            ("training", {"ema_decay": 1.0}),
            ("training", {"patience": 0}),
            ("training", {"max_seconds": 0}),
            ("training", {"max_seconds": math.inf}),
            ("training", {"max_seconds": math.nan}),
            ("preprocessing", {"crop_size_px": 100}),
            ("preprocessing", {"context_mm": [-5.0, 5.0]}),
            ("preprocessing", {"windows": []}),
            ("preprocessing", {"windows": [{"width_hu": 0}]}),
            ("network", {"width": 0}),
            ("loss", {"sce_log_zero": 0}),
            ("loss", {"class_weights": [1.0, 2.0]}),
            ("postprocessing", {"thresholds": [0.5]}),
            ("postprocessing", {"thresholds": [0.5, 0.5, 0.5, 1.5]}),
            ("postprocessing", {"presence_gate": [0.2, 0.6]}),
        ],
    )
    def test_values_no_run_can_have_are_refused(self, part, values):
        with pytest.raises(ConfigError) as refused:
            RunConfig.from_dict({part: values})

        assert refused.value.name.startswith(part)

    def test_the_default_crop_spans_the_papers_250_mm(self):
        assert RunConfig().preprocessing.crop_size_mm == pytest.approx(250.0, abs=0.1)

    def test_every_slice_of_context_has_every_window(self):
        assert RICH.preprocessing.channel_count == 6
