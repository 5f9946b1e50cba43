from ml.evaluation.report.plan import ComparisonKind, ReportPlan
from ml.evaluation.report.write import write_report
from ml.evaluation.rows import read_rows
from ml.grading import StructureGrades
from tests.factories.studies import paper_comparison, paper_rows

GRADES = [StructureGrades(structure="Bladder", counts=(616, 28, 14, 20))]


class TestWriteReport:
    def test_a_comparison_has_its_tables_and_figures(self, tmp_path):
        plan = ReportPlan(title="Study", comparisons=(paper_comparison(),))

        page = write_report(tmp_path / "new", paper_rows(), plan, GRADES)

        tables = ["table", "table_2d", "means", "paired", "statistics"]
        expected = {f"networks_{name}.{end}" for name in tables for end in ("csv", "md")}
        figures = ("figure", "boxes")
        expected |= {f"networks_{name}.{end}" for name in figures for end in ("svg", "png")}
        expected |= {"grades.csv", "grades.md", "report.md", "rows.csv"}
        assert {path.name for path in page.parent.iterdir()} == expected

    def test_the_page_shows_what_the_files_hold(self, tmp_path):
        plan = ReportPlan(title="Study", comparisons=(paper_comparison(),))

        text = write_report(tmp_path, paper_rows(), plan, GRADES).read_text()

        assert text.startswith("# Study\n\n## Networks\n")
        assert (tmp_path / "networks_table.md").read_text().rstrip() in text
        assert "![Networks, figure](networks_figure.png)" in text
        assert "94.99%" in text

    def test_parts_are_tabled_where_there_are_several(self, tmp_path):
        comparison = paper_comparison(ComparisonKind.ABLATION, parts=("test", "obese"))
        rows = paper_rows() + paper_rows(part="obese")

        write_report(tmp_path, rows, ReportPlan(title="Study", comparisons=(comparison,)))

        assert (tmp_path / "ablation_parts.csv").read_text().count("obese") == 4

    def test_the_rows_are_kept_beside_it(self, tmp_path):
        rows = paper_rows()

        write_report(tmp_path, rows, ReportPlan(title="Study", comparisons=()))

        assert read_rows(tmp_path / "rows.csv") == rows
