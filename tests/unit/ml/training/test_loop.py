import dataclasses
import json
import math
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ml.config import AugmentationPreset, RunConfig
from ml.structures import CERVIX
from ml.training.data import TrainingData
from ml.training.loop import CPU, train
from ml.training.objective import Objective
from ml.training.reporter import EpochReport, FileReporter
from ml.training.state import TrainingState, load_state
from ml.training.step import NonFiniteLossError
from tests.factories.cases import make_case, tiny_run
from tests.factories.training import ListReporter, make_report, make_training_data


class BrokenObjective(Objective):
    """Has a loss that is not a number."""

    def __call__(self, network, images, labels):
        loss, logits = super().__call__(network, images, labels)
        return loss * math.nan, logits


class FailsAtEpoch(ListReporter):
    """Loses its connection when it hears of an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch

    def epoch_finished(self, report: EpochReport) -> None:
        super().epoch_finished(report)
        if report.epoch == self._epoch:
            raise ConnectionError


PROCESS = """
import os, signal, sys
from pathlib import Path
import torch
from ml.training.loop import CPU, train
from ml.training.reporter import FileReporter
from tests.factories.cases import tiny_run
from tests.factories.training import make_training_data

class Killed(FileReporter):
    def epoch_finished(self, report):
        super().epoch_finished(report)
        if report.epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)

folder = Path(sys.argv[1])
torch.set_num_threads(1)
train(tiny_run(), make_training_data(), folder, REPORTER(folder / "epochs.jsonl"))
"""
KILLED = PROCESS.replace("REPORTER", "Killed")
RESUMED = PROCESS.replace("REPORTER", "FileReporter")


def start(script: str, folder: Path) -> int:
    """Run a script in a process of its own and return its code, or less than 0 for a signal."""
    root = Path(__file__).parents[4]
    return subprocess.run(
        [sys.executable, "-c", script, folder], cwd=root, timeout=280, check=False
    ).returncode


def epochs_in(folder: Path) -> list[EpochReport]:
    lines = (folder / "epochs.jsonl").read_text().splitlines()
    return [EpochReport(**json.loads(line)) for line in lines]


def numbers(reports: list[EpochReport]) -> list[dict]:
    """All that must repeat to the last bit."""
    seconds = ("seconds", "seconds_waited")
    return [
        {k: v for k, v in dataclasses.asdict(report).items() if k not in seconds}
        for report in reports
    ]


@pytest.fixture
def data() -> TrainingData:
    return make_training_data()


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

    def test_however_short_the_time_one_epoch_is_finished(self, data, tmp_path):
        reporter = ListReporter()

        state = train(tiny_run(max_seconds=1e-9), data, tmp_path, reporter)

        assert (state.epoch, len(reporter.reports)) == (1, 1)
        assert state.best_weights

    def test_time_adds_up_over_interruptions(self, data, tmp_path):
        parts = ListReporter(stop_after=2)
        resumed = ListReporter()

        before = train(tiny_run(max_seconds=600.0), data, tmp_path, parts)
        used_up = train(tiny_run(max_seconds=before.seconds), data, tmp_path, resumed)
        a_little = before.seconds + 1e-9
        after = train(tiny_run(max_seconds=a_little), data, tmp_path, resumed)

        assert (before.epoch, used_up.epoch, after.epoch) == (2, 2, 3)
        assert after.seconds == sum(r.seconds for r in parts.reports + resumed.reports)

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

    def test_weights_are_kept_by_loss_and_by_dice(self, data, tmp_path):
        reporter = ListReporter()

        state = train(tiny_run(), data, tmp_path, reporter)

        means = [statistics.fmean(r.validation_dice.values()) for r in reporter.reports]
        assert state.best_dice == max(means)
        assert [r.is_best_dice for r in reporter.reports] == [
            mean > max(means[:i], default=-1) for i, mean in enumerate(means)
        ]
        assert state.best_dice_weights.keys() == state.best_weights.keys()

    def test_batches_made_ahead_change_no_weight(self, data, tmp_path):
        config = tiny_run(max_epochs=1)

        states = [
            train(config, data, tmp_path / str(ahead), ListReporter(), batches_ahead=ahead)
            for ahead in (0, 3)
        ]

        assert_equal_weights(*states)

    def test_a_run_learns_from_context_windows_and_presence(self, data, tmp_path):
        config = RunConfig.from_dict(
            tiny_run(max_epochs=2, micro_batch_size=1).to_dict()
            | {
                "preprocessing": {
                    "crop_size_px": 64,
                    "context_mm": [-5.0, 0.0, 5.0],
                    "windows": [{}, {"level_hu": 0.0, "width_hu": 2000.0}],
                },
                "network": {"width": 0.125, "presence_head": True},
            }
        )
        reporter = ListReporter()

        state = train(config, data, tmp_path, reporter)

        assert max(w.shape[1] for n, w in state.best_weights.items() if "stem" in n) == 6
        assert reporter.reports[-1].training_loss < reporter.reports[0].training_loss

    def test_a_run_card_lies_beside_the_state(self, data, tmp_path):
        train(tiny_run(max_epochs=1), data, tmp_path, ListReporter())

        card = json.loads((tmp_path / "run.json").read_text())
        assert (card["epochs"], card["steps"]) == (1, 4)
        assert card["data"]["sha256"] == data.sha256()


class TestStopping:
    def test_a_run_ends_within_a_step_at_the_last_finished_epoch(self, data, tmp_path):
        config = tiny_run()
        reporter = ListReporter(stop_after_batches=6)

        stopped = train(config, data, tmp_path / "parts", reporter)
        resumed = train(config, data, tmp_path / "parts", ListReporter())
        whole = train(config, data, tmp_path / "whole", ListReporter())

        assert [(done, total) for done, total, _ in reporter.batches] == [
            *((i, 4) for i in range(1, 5)),
            (1, 4),
            (2, 4),
        ]
        assert (stopped.epoch, stopped.step) == (1, 4)
        assert_equal_weights(resumed, whole)

    @pytest.mark.parametrize("batch", [0, 1])
    def test_a_stop_during_validation_ends_within_a_batch(self, data, tmp_path, batch):
        # an epoch asks before 4 batches of training, before 2 of validation, and at its end
        reporter = ListReporter(stop_after_questions=7 + 4 + batch)

        stopped = train(tiny_run(), data, tmp_path / "parts", reporter)
        resumed = train(tiny_run(), data, tmp_path / "parts", ListReporter())
        whole = train(tiny_run(), data, tmp_path / "whole", ListReporter())

        assert (len(reporter.batches), len(reporter.reports)) == (8, 1)
        assert (stopped.epoch, stopped.step) == (1, 4)
        assert_equal_weights(resumed, whole)

    def test_a_run_stopped_in_its_first_epoch_has_not_begun(self, data, tmp_path):
        state = train(tiny_run(), data, tmp_path, ListReporter(stop_after_batches=1))

        assert (state.epoch, state.step) == (0, 0)
        assert list(tmp_path.iterdir()) == []

    def test_deterministic_algorithms_end_with_the_run(self, data, tmp_path):
        train(tiny_run(max_epochs=1), data, tmp_path, ListReporter())

        assert not torch.are_deterministic_algorithms_enabled()


class TestOverfitting:
    def test_a_tiny_network_learns_three_slices_by_heart(self, tmp_path):
        case = make_case(slices=3)
        data = TrainingData(training=[case], validation=[case], structures=CERVIX)
        config: RunConfig = tiny_run(
            augmentation=AugmentationPreset.NONE,
            max_epochs=16,
            slices_per_epoch=20,
            learning_rate=1e-2,
            seed=4,
        )
        reporter = ListReporter()

        train(config, data, tmp_path, reporter)

        assert reporter.reports[-1].training_loss < 0.5 * reporter.reports[0].training_loss
        assert min(reporter.reports[-1].validation_dice.values()) > 0.7


class TestReportingBeforeSaving:
    def test_a_reporter_that_fails_hears_of_the_epoch_again(self, data, tmp_path):
        config = tiny_run(ema_decay=0.9)
        whole, failing, resumed = ListReporter(), FailsAtEpoch(2), ListReporter()

        at_once = train(config, data, tmp_path / "whole", whole)
        with pytest.raises(ConnectionError):
            train(config, data, tmp_path / "parts", failing)
        continued = train(config, data, tmp_path / "parts", resumed)

        assert [r.epoch for r in failing.reports + resumed.reports] == [1, 2, 2, 3, 4]
        assert numbers(failing.reports + resumed.reports[1:]) == numbers(whole.reports)
        assert numbers(resumed.reports[:1]) == numbers(failing.reports[1:])
        assert_equal_weights(at_once, continued)

    def test_an_epoch_reported_before_a_kill_is_reported_once_in_the_file(self, data, tmp_path):
        config = tiny_run()
        killed = start(KILLED, tmp_path)
        after_kill = epochs_in(tmp_path)
        saved = load_state(config, tmp_path, CPU)
        resumed = start(RESUMED, tmp_path)

        whole = ListReporter()
        at_once = train(config, data, tmp_path / "whole", whole)

        assert (killed, resumed) == (-signal.SIGKILL, 0)
        assert ([r.epoch for r in after_kill], saved.epoch) == ([1, 2], 1)
        assert numbers(epochs_in(tmp_path)) == numbers(whole.reports)
        assert numbers(after_kill) == numbers(whole.reports[:2])
        assert_equal_weights(at_once, load_state(config, tmp_path, CPU))


class TestFileReporter:
    def test_every_epoch_is_a_line(self, data, tmp_path):
        train(tiny_run(max_epochs=2), data, tmp_path, FileReporter(tmp_path / "epochs.jsonl"))

        lines = [json.loads(t) for t in (tmp_path / "epochs.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2]
        assert set(lines[0]["validation_dice"]) == set(CERVIX.names)

    def test_an_epoch_reported_again_replaces_its_line_and_later_ones(self, tmp_path):
        reporter = FileReporter(tmp_path / "epochs.jsonl")

        for epoch, seconds in ((1, 5.0), (2, 6.0), (3, 7.0), (2, 8.0)):
            reporter.epoch_finished(make_report(epoch=epoch, seconds=seconds))

        assert [(r.epoch, r.seconds) for r in epochs_in(tmp_path)] == [(1, 5.0), (2, 8.0)]
        assert [path.name for path in tmp_path.iterdir()] == ["epochs.jsonl"]
