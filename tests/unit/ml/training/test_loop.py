import json
import math

import pytest
import torch

from ml.config import RunConfig
from ml.structures import CERVIX
from ml.training.data import TrainingData
from ml.training.loop import train
from ml.training.objective import Objective
from ml.training.reporter import EpochReport, FileReporter
from ml.training.state import TrainingState
from ml.training.step import NonFiniteLossError
from tests.factories.cases import make_case, tiny_run


class ListReporter:
    """Keeps what it hears and asks to stop after so many epochs."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.reports: list[EpochReport] = []
        self.batches: list[tuple[int, int, float]] = []
        self._stop_after = stop_after

    def batch_finished(self, done: int, total: int, loss: float) -> None:
        self.batches.append((done, total, loss))

    def epoch_finished(self, report: EpochReport) -> None:
        self.reports.append(report)

    def should_stop(self) -> bool:
        return len(self.reports) == self._stop_after


class BrokenObjective(Objective):
    """Has a loss that is not a number."""

    def __call__(self, network, images, labels):
        loss, logits = super().__call__(network, images, labels)
        return loss * math.nan, logits


@pytest.fixture
def data() -> TrainingData:
    cases = [make_case(seed) for seed in range(3)]
    return TrainingData(training=cases[:2], validation=cases[2:], structures=CERVIX)


def weights_of(state: TrainingState) -> dict[str, torch.Tensor]:
    return {
        **{f"own {k}": v for k, v in state.network.state_dict().items()},
        **{f"kept {k}": v for k, v in state.kept_network.state_dict().items()},
        **{f"best {k}": v for k, v in state.best_weights.items()},
    }


def assert_equal_weights(first: TrainingState, second: TrainingState) -> None:
    a, b = weights_of(first), weights_of(second)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


class TestTrain:
    def test_four_epochs_equal_two_and_two_bit_by_bit(self, data, tmp_path):
        config = tiny_run(ema_decay=0.9)
        whole, parts = ListReporter(), ListReporter(stop_after=2)
        resumed = ListReporter()

        at_once = train(config, data, tmp_path / "whole", whole)
        train(config, data, tmp_path / "parts", parts)
        continued = train(config, data, tmp_path / "parts", resumed)

        assert (at_once.epoch, at_once.step) == (continued.epoch, continued.step) == (4, 16)
        assert_equal_weights(at_once, continued)
        losses = [(r.training_loss, r.validation_loss) for r in whole.reports]
        again = [(r.training_loss, r.validation_loss) for r in parts.reports + resumed.reports]
        assert losses == again

    def test_the_seed_decides_the_weights(self, data, tmp_path):
        same, other = tiny_run(max_epochs=1), tiny_run(max_epochs=1, seed=1)

        states = [
            train(config, data, tmp_path / str(i), ListReporter())
            for i, config in enumerate([same, same, other])
        ]

        assert_equal_weights(states[0], states[1])
        first, third = (next(s.network.parameters()) for s in (states[0], states[2]))
        assert not torch.equal(first, third)

    def test_patience_ends_a_run_that_learns_nothing(self, data, tmp_path):
        config = tiny_run(learning_rate=1e-12, max_epochs=9, patience=2)
        reporter = ListReporter()

        train(config, data, tmp_path, reporter)

        # norm statistics still move in epochs without learning, so the best one may not be first
        assert len(reporter.reports) < 9
        assert [r.is_best for r in reporter.reports[-2:]] == [False, False]

    def test_a_loss_that_is_no_number_stops_before_the_update(self, data, tmp_path, monkeypatch):
        config = tiny_run()
        train(config, data, tmp_path, ListReporter(stop_after=1))
        before = (tmp_path / "state.pt").read_bytes()
        monkeypatch.setattr("ml.training.loop.Objective", BrokenObjective)

        with pytest.raises(NonFiniteLossError):
            train(config, data, tmp_path, ListReporter())

        assert (tmp_path / "state.pt").read_bytes() == before

    def test_the_best_weights_are_those_of_the_lowest_loss(self, data, tmp_path):
        reporter = ListReporter()

        state = train(tiny_run(), data, tmp_path, reporter)

        best = min(r.validation_loss for r in reporter.reports)
        assert state.early_stopping.best_loss == best
        assert [r.is_best for r in reporter.reports][-1] == (
            best == reporter.reports[-1].validation_loss
        )


class TestOverfitting:
    def test_a_tiny_network_learns_two_slices_by_heart(self, tmp_path):
        case = make_case(slices=3)
        data = TrainingData(training=[case], validation=[case], structures=CERVIX)
        config: RunConfig = tiny_run(
            max_epochs=16, slices_per_epoch=20, empty_slice_weight=0.0, learning_rate=1e-2
        )
        reporter = ListReporter()

        train(config, data, tmp_path, reporter)

        assert reporter.reports[-1].training_loss < 0.5 * reporter.reports[0].training_loss
        assert min(reporter.reports[-1].validation_dice.values()) > 0.7


class TestFileReporter:
    def test_every_epoch_is_a_line(self, data, tmp_path):
        train(tiny_run(max_epochs=2), data, tmp_path, FileReporter(tmp_path / "epochs.jsonl"))

        lines = [json.loads(t) for t in (tmp_path / "epochs.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2]
        assert set(lines[0]["validation_dice"]) == set(CERVIX.names)
