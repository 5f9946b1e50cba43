import pytest

from ml.config import LossName
from ml.experiments.execution import read_outcome
from ml.experiments.scheduling import LOG_FILE, in_processes, run_plan
from ml.planning.plan import plan_loss_comparison


def double(value: int) -> int:
    if value < 0:
        raise ValueError("negative")
    return 2 * value


class TestInProcesses:
    @pytest.mark.parametrize("processes", [1, 2])
    def test_every_call_is_made_once_and_keeps_its_number(self, processes):
        calls = [(double, (value,)) for value in (3, 1, 2)]

        assert dict(in_processes(calls, processes)) == {0: 6, 1: 2, 2: 4}

    @pytest.mark.parametrize("processes", [1, 2])
    def test_an_error_comes_out(self, processes):
        with pytest.raises(ValueError, match="negative"):
            list(in_processes([(double, (-1,)), (double, (1,))], processes))


class TestRunPlan:
    def test_all_runs_of_a_plan_are_executed_each_in_its_folder(
        self, tiny_config, run_data, tmp_path
    ):
        plan = plan_loss_comparison(tiny_config, [0], [LossName.CE, LossName.DICE])

        ended = {run.name: outcome for run, outcome in run_plan(plan, run_data, tmp_path / "r", 1)}

        assert set(ended) == {"loss-ce-s0", "loss-dice-s0"}
        for name, outcome in ended.items():
            assert read_outcome(tmp_path / "r" / name) == outcome
            assert "epoch 2" in (tmp_path / "r" / name / LOG_FILE).read_text()

    def test_the_log_of_a_linked_folder_is_not_written_into(self, tiny_config, run_data, tmp_path):
        plan = plan_loss_comparison(tiny_config, [0], [LossName.CE])
        log = tmp_path / "r" / "loss-ce-s0" / LOG_FILE
        log.parent.mkdir(parents=True)
        (tmp_path / "other.log").write_text("of another run\n")
        log.hardlink_to(tmp_path / "other.log")

        list(run_plan(plan, run_data, tmp_path / "r", 1))

        assert (tmp_path / "other.log").read_text() == "of another run\n"
        assert log.read_text().startswith("of another run\n")
        assert "epoch 2" in log.read_text()
