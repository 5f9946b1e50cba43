import pytest
import torch
from torch import nn

from ml.config import OptimizerName, ScheduleName, TrainingConfig
from ml.training.schedule import build_optimizer, learning_rate_at, update_mean


class TestLearningRate:
    @pytest.mark.parametrize(
        ("schedule", "step", "expected"),
        [
            (ScheduleName.CONSTANT, 75, 1.0),
            (ScheduleName.COSINE, 0, 1.0),
            (ScheduleName.COSINE, 50, 0.5),
            (ScheduleName.COSINE, 100, 0.0),
            (ScheduleName.POLY, 50, 0.5**0.9),
            (ScheduleName.POLY, 100, 0.0),
        ],
    )
    def test_the_course_by_hand(self, schedule, step, expected):
        config = TrainingConfig(learning_rate=1.0, schedule=schedule)

        assert learning_rate_at(step, 100, config) == pytest.approx(expected)

    def test_warm_up_rises_to_the_full_rate(self):
        config = TrainingConfig(learning_rate=0.8, warmup_steps=4)

        rates = [learning_rate_at(step, 100, config) for step in range(5)]

        assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])


class TestOptimizer:
    def test_norms_and_biases_do_not_decay(self):
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        config = TrainingConfig(optimizer=OptimizerName.ADAMW, weight_decay=0.1)

        decayed, kept = build_optimizer(network, config).param_groups

        assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
        assert [p.ndim for p in decayed["params"]] == [4]
        assert [p.ndim for p in kept["params"]] == [1, 1, 1]


class TestMean:
    def test_it_moves_a_step_towards_the_network(self):
        mean, network = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
        network.load_state_dict(
            {
                "weight": torch.tensor([3.0]),
                "bias": torch.tensor([0.0]),
                "running_mean": torch.tensor([0.0]),
                "running_var": torch.tensor([5.0]),
                "num_batches_tracked": torch.tensor(7),
            }
        )

        update_mean(mean, network, decay=0.75)

        moved = mean.state_dict()
        assert moved["weight"].item() == pytest.approx(1.5)
        assert moved["running_var"].item() == pytest.approx(2.0)
        assert moved["num_batches_tracked"].item() == 7
