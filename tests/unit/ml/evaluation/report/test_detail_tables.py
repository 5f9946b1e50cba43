import pytest

from ml.evaluation.report.detail_tables import grades_table, paired_table, statistics_table
from ml.grading import StructureGrades
from tests.factories.scores import ABSENT, MISSED, make_score
from tests.factories.studies import paper_comparison, paper_rows

RUNS = ("U-Net", "Attention U-Net", "U-Net++", "ResAU-Net")


class TestStatisticsTable:
    def test_every_measure_of_every_structure_and_run_has_a_row(self):
        table = statistics_table(paper_rows(), paper_comparison())

        assert len(table.rows) == 4 * 4 * 10

    def test_empties_are_counted_beside_the_means(self):
        rows = [make_score(i, run=run, dice=0.5) for run in RUNS for i in range(3)]
        rows += [make_score(3, run="U-Net", **ABSENT), make_score(4, run="U-Net", **MISSED)]

        table = statistics_table(rows, paper_comparison())

        first, second = (dict(zip(table.header, row, strict=True)) for row in table.rows[:2])
        assert first["Measure"] == "DSC"
        assert (first["rows"], first["mean"], first["median"]) == ("4", "0.375", "0.500")
        assert (first["both empty"], first["missed"], first["hallucinated"]) == ("1", "1", "0")
        assert (second["rows"], second["mean"], second["penalised mean"]) == (
            "3",
            "0.000",
            "175.000",
        )


class TestPairedTable:
    def test_every_other_run_is_held_against_the_reference(self):
        table = paired_table(paper_rows(), paper_comparison())

        assert table.title == "Networks: difference to ResAU-Net (test)"
        assert table.rows[0][:5] == ("U-Net", "Bladder", "DSC", "8", "-0.030 [-0.030, -0.030]")
        assert float(table.rows[0][5]) <= float(table.rows[0][6])
        # 3 runs x (4 structures and their mean) x 3 measures
        assert len(table.rows) == 45


class TestGradesTable:
    def test_the_published_table(self):
        counts = {"Bladder": (616, 28, 14, 20), "Rectum": (536, 61, 23, 58)}
        counts |= {"CTV-N": (466, 117, 69, 26), "CTV-UV": (460, 90, 61, 67)}

        table = grades_table([StructureGrades(structure=k, counts=v) for k, v in counts.items()])

        assert table.header[1:5] == (
            "Acceptable",
            "Minor revision",
            "Major revision",
            "Not acceptable",
        )
        assert table.rows[0] == (
            "Bladder",
            "616 (90.86%)",
            "28 (4.13%)",
            "14 (2.06%)",
            "20 (2.95%)",
            "94.99%",
        )
        assert table.rows[4] == (
            "Mean percentage",
            "76.62%",
            "10.91%",
            "6.16%",
            "6.31%",
            "87.54%",
        )

    def test_no_grades_are_no_table(self):
        with pytest.raises(ValueError, match="no structure"):
            grades_table([])
