import dataclasses
import json
from pathlib import Path

import pytest

from ml.evaluation.report.plan import ComparisonKind, ReportedRun, ReportPlan
from ml.evaluation.report.write import write_report
from ml.evaluation.rows import read_rows
from ml.grading import StructureGrades
from tests.factories.studies import TABLE_1, make_curve, paper_comparison, paper_rows

GRADES = [StructureGrades(structure="Bladder", counts=(616, 28, 14, 20))]
PLAN = ReportPlan(title="Study", comparisons=(paper_comparison(),))
CURVES = [make_curve("U-Net", seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The folder of a report with everything in it; drawing one takes seconds."""
    folder = tmp_path_factory.mktemp("report") / "new"
    page = write_report(folder, paper_rows(), PLAN, GRADES, CURVES)
    assert page == folder / "report.md"
    return folder


class TestWriteReport:
    def test_a_comparison_has_its_tables_and_figures(self, report):
        tables = ["table", "table_2d", "means", "paired", "statistics"]
        expected = {f"networks_{name}.{end}" for name in tables for end in ("csv", "md")}
        figures = ("figure", "boxes", "curves")
        expected |= {f"networks_{name}.{end}" for name in figures for end in ("svg", "png")}
        expected |= {"grades.csv", "grades.md", "rows.csv", "epochs.csv"}
        expected |= {"report.md", "report.html", "summary.json"}
        assert {path.name for path in report.iterdir()} == expected

    def test_the_page_shows_what_the_files_hold(self, report):
        text = (report / "report.md").read_text()

        assert text.startswith("# Study\n\n## Networks\n")
        assert (report / "networks_table.md").read_text().rstrip() in text
        assert "![Networks, figure](networks_figure.png)" in text
        assert "![Networks, curves](networks_curves.png)" in text
        assert "94.99%" in text

    def test_one_file_shows_the_same(self, report):
        page = (report / "report.html").read_text(encoding="utf-8")

        assert page.count("<img ") == 3
        for name in ("table", "table_2d", "means", "paired"):
            for line in (report / f"networks_{name}.csv").read_text().splitlines()[1:3]:
                assert f"<td>{line.split(',')[0]}</td>" in page
        assert "94.99%" in page

    def test_the_summary_is_of_the_plan(self, report):
        values = json.loads((report / "summary.json").read_text())

        assert [found["name"] for found in values["comparisons"]] == ["networks"]

    def test_every_epoch_of_every_curve_is_kept(self, report):
        assert len((report / "epochs.csv").read_text().splitlines()) == 1 + 2 * 3

    def test_equal_rows_and_curves_give_equal_files(self, report, tmp_path):
        write_report(tmp_path, paper_rows(), PLAN, GRADES, CURVES)

        one, two = ({p.name: p.read_bytes() for p in f.iterdir()} for f in (report, tmp_path))
        assert [name for name in one if one[name] != two[name]] == []
        assert one.keys() == two.keys()

    def test_parts_are_tabled_where_there_are_several(self, tmp_path):
        comparison = paper_comparison(ComparisonKind.ABLATION, parts=("test", "obese"))
        rows = paper_rows() + paper_rows(part="obese")

        write_report(tmp_path, rows, ReportPlan(title="Study", comparisons=(comparison,)))

        assert (tmp_path / "ablation_parts.csv").read_text().count("obese") == 4

    def test_curves_of_runs_that_are_not_compared_are_not_drawn(self, tmp_path):
        runs = tuple(ReportedRun(label=name, title=name) for name in list(TABLE_1)[2:])
        others = dataclasses.replace(paper_comparison(), runs=runs)
        plan = ReportPlan(title="Study", comparisons=(others,))

        write_report(tmp_path, paper_rows(), plan, curves=CURVES)

        assert list(tmp_path.glob("*_curves.*")) == []
        assert (tmp_path / "epochs.csv").exists()

    def test_runs_of_several_experiments_stand_side_by_side(self, tmp_path):
        second = [dataclasses.replace(row, run=f"second/{row.run}") for row in paper_rows()]
        titles = {"ResAU-Net": "ResAU-Net, $1", "second/ResAU-Net": "ResAU-Net <again>"}
        comparison = dataclasses.replace(
            paper_comparison(),
            runs=tuple(ReportedRun(label=label, title=text) for label, text in titles.items()),
        )

        write_report(
            tmp_path, paper_rows() + second, ReportPlan(title="Both", comparisons=(comparison,))
        )

        assert (tmp_path / "networks_means.csv").read_text().count("ResAU-Net") == 2
        assert "<td>ResAU-Net &lt;again&gt;</td>" in (tmp_path / "report.html").read_text()

    def test_the_rows_are_kept_beside_it(self, tmp_path):
        rows = paper_rows()

        write_report(tmp_path, rows, ReportPlan(title="Study", comparisons=()))

        assert read_rows(tmp_path / "rows.csv") == rows
