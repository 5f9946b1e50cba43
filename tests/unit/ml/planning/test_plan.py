import pytest

from ml.config import ConfigError, LossName, NetworkName, RunConfig
from ml.planning.plan import (
    plan_grid_search,
    plan_loss_comparison,
    plan_network_comparison,
    plan_training,
    with_settings,
)

BASE = RunConfig()


class TestWithSettings:
    def test_only_what_is_named_changes(self):
        changed = with_settings(BASE, {"training.learning_rate": 0.1, "loss.name": "dice"})

        assert changed.training.learning_rate == 0.1
        assert changed.loss.name is LossName.DICE
        assert (
            with_settings(changed, {"training.learning_rate": 1e-3, "loss.name": BASE.loss.name})
            == BASE
        )

    @pytest.mark.parametrize("path", ["training.speed", "trainings.seed", "training.seed.x"])
    def test_a_path_that_is_no_setting_is_refused(self, path):
        with pytest.raises(ConfigError, match="no such setting"):
            with_settings(BASE, {path: 1})


class TestPlans:
    def test_the_papers_grid_has_twelve_cells(self):
        runs = plan_grid_search(BASE, [0])

        cells = {(r.config.training.learning_rate, r.config.training.batch_size) for r in runs}
        assert len(runs) == len(cells) == 12

    def test_names_are_unique_and_seeds_share_a_label(self):
        runs = plan_grid_search(BASE, [0, 1], {"training.batch_size": (8, 16)})

        assert len({run.name for run in runs}) == 4
        assert [run.label for run in runs] == ["batch_size=8"] * 2 + ["batch_size=16"] * 2

    def test_an_axis_without_values_is_refused(self):
        with pytest.raises(ConfigError, match="no values"):
            plan_grid_search(BASE, [0], {"training.batch_size": ()})

    def test_runs_of_a_loss_comparison_differ_by_the_loss_alone(self):
        runs = plan_loss_comparison(BASE, [3])

        assert [run.config.loss.name for run in runs] == ["ce", "sce", "dice", "lovasz"]
        assert len({repr(with_settings(r.config, {"loss.name": "ce"})) for r in runs}) == 1

    def test_runs_of_a_network_comparison_may_differ_in_width(self):
        runs = plan_network_comparison(BASE, [0], widths={NetworkName.UNET: 0.5})

        widths = {run.config.network.name: run.config.network.width for run in runs}
        assert widths == {"unet": 0.5, "attention_unet": 1, "unet_plus_plus": 1, "resaunet": 1}

    def test_every_seed_is_a_run(self):
        runs = plan_training(BASE, [4, 5])

        assert [run.seed for run in runs] == [4, 5]
        assert [run.name for run in runs] == ["training-s4", "training-s5"]
