from ml.evaluation.rows import read_rows
from ml.experiments.execution import EPOCHS_FILE
from ml.training.reporter import FileReporter
from tests.factories.training import make_report
from tests.unit.ml.cli.conftest import call


class TestEvaluate:
    def test_every_structure_of_every_case_is_a_row(self, dataset, weights, tmp_path):
        out = tmp_path / "rows.csv"

        result = call("evaluate", dataset, weights, "--part", "all", "--label", "x", "--out", out)

        assert result.exit_code == 0
        rows = read_rows(out)
        assert len(rows) == 5 * 4
        assert {row.run for row in rows} == {"x"}
        assert "slices wrong in presence" in result.output

    def test_several_checkpoints_are_an_ensemble(self, dataset, weights, tmp_path):
        out = tmp_path / "rows.csv"

        assert call("evaluate", dataset, weights, weights, "--out", out).exit_code == 0
        assert len(read_rows(out)) == 4

    def test_changed_weights_are_refused(self, dataset, weights, tmp_path):
        changed = tmp_path / "changed.safetensors"
        changed.write_bytes(weights.read_bytes() + b"x")
        card = weights.with_suffix(".json").read_text()
        changed.with_suffix(".json").write_text(card)

        result = call("evaluate", dataset, changed, "--out", tmp_path / "rows.csv")

        assert result.exit_code == 2
        assert "error: checkpoint" in result.output
        assert not (tmp_path / "rows.csv").exists()


class TestReport:
    def test_rows_become_tables_and_figures(self, dataset, weights, tmp_path):
        for label in ("first", "second"):
            out = tmp_path / f"{label}.csv"
            call("evaluate", dataset, weights, "--part", "all", "--label", label, "--out", out)

        files = (tmp_path / "first.csv", tmp_path / "second.csv")
        result = call("report", *files, "--out", tmp_path / "report")

        assert result.exit_code == 0, result.output
        endings = {path.suffix for path in (tmp_path / "report").iterdir()}
        assert endings == {".md", ".csv", ".svg", ".png", ".html", ".json"}

    def test_learning_curves_are_those_of_the_runs_folder(self, dataset, weights, tmp_path):
        call("evaluate", dataset, weights, "--label", "first", "--out", tmp_path / "rows.csv")
        place = tmp_path / "runs" / "first-s0"
        place.mkdir(parents=True)
        FileReporter(place / EPOCHS_FILE).epoch_finished(make_report())

        result = call(
            "report", tmp_path / "rows.csv", "--runs", tmp_path / "runs", "--out", tmp_path / "r"
        )

        assert result.exit_code == 0, result.output
        assert (tmp_path / "r/networks_curves.png").exists()

    def test_the_figure_is_chosen_by_the_name_the_help_gives(self, dataset, weights, tmp_path):
        call("evaluate", dataset, weights, "--out", tmp_path / "rows.csv")

        chosen = ("--kind", "losses", "--out", tmp_path / "report")
        result = call("report", tmp_path / "rows.csv", *chosen)

        assert result.exit_code == 0, result.output
        assert (tmp_path / "report/losses_figure.svg").exists()

    def test_a_file_that_holds_no_rows_is_refused(self, tmp_path):
        (tmp_path / "rows.csv").write_text("a,b\n1,2\n")

        result = call("report", tmp_path / "rows.csv", "--out", tmp_path / "report")

        assert result.exit_code == 2
        assert "lacks the columns" in result.output
