import json

import pytest

from ml.config import (
    GatedInput,
    NetworkConfig,
    OptimizerName,
    Precision,
    PreprocessingConfig,
    RunConfig,
    ScheduleName,
    TrainingConfig,
)


class TestRunConfig:
    def test_it_survives_json(self):
        config = RunConfig(
            preprocessing=PreprocessingConfig(crop_size_px=128, pixel_spacing_mm=1.5),
            network=NetworkConfig(width=0.5, gated_input=GatedInput.DECODER),
            training=TrainingConfig(
                optimizer=OptimizerName.ADAMW,
                schedule=ScheduleName.POLY,
                precision=Precision.BFLOAT16,
                slices_per_epoch=100,
            ),
        )

        again = RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))

        assert again == config
        assert isinstance(again.training.schedule, ScheduleName)

    def test_what_is_not_said_is_the_default(self):
        assert RunConfig.from_dict({}) == RunConfig()

    def test_a_key_no_field_goes_by_is_refused(self):
        with pytest.raises(TypeError, match="patients"):
            RunConfig.from_dict({"training": {"patients": 3}})

    @pytest.mark.parametrize(
        "values", [{"network": {"name": "vgg"}}, {"training": {"optimizer": "sgd"}}]
    )
    def test_a_choice_that_does_not_exist_is_refused(self, values):
        with pytest.raises(ValueError, match="is not a valid"):
            RunConfig.from_dict(values)

    def test_the_default_crop_spans_the_papers_250_mm(self):
        assert RunConfig().preprocessing.crop_size_mm == pytest.approx(250.0, abs=0.1)
