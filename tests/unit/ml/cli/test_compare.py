from ml.evaluation.rows import read_rows
from tests.unit.ml.cli.conftest import TINY_RUN, call


class TestCompare:
    def test_a_dry_run_lists_the_runs_and_trains_none(self, dataset, tmp_path):
        result = call(
            "compare", "grid", dataset, "--out", tmp_path / "g", "--seeds", 1, "--dry-run"
        )

        assert result.exit_code == 0
        assert len(result.output.split()) == 12
        assert not (tmp_path / "g").exists()

    def test_a_grid_is_ranked_and_scored(self, dataset, tmp_path):
        axis = ("--axis", "training.batch_size=4,8", "--seeds", 1)

        result = call("compare", "grid", dataset, "--out", tmp_path / "g", *TINY_RUN, *axis)

        assert result.exit_code == 0, result.output
        lines = result.output.splitlines()
        assert [line.split()[0] for line in lines] == ["1", "2"]
        rows = [row for path in (tmp_path / "g/rows").iterdir() for row in read_rows(path)]
        assert {row.run for row in rows} == {"batch_size=4", "batch_size=8"}

    def test_an_axis_of_no_setting_is_refused_before_anything_is_made(self, dataset, tmp_path):
        result = call("compare", "grid", dataset, "--out", tmp_path / "g", "--axis", "speed=1,2")

        assert result.exit_code == 2
        assert "no such setting" in result.output
        assert not (tmp_path / "g").exists()

    def test_axes_belong_to_the_grid(self, dataset, tmp_path):
        result = call("compare", "losses", dataset, "--out", tmp_path, "--axis", "loss.name=ce")

        assert result.exit_code == 2
