import pytest

from ml.evaluation.report.comparison_tables import (
    means_table,
    parts_table,
    presence_errors_per_case,
    table_1,
    table_1_slicewise,
)
from ml.evaluation.report.plan import ComparisonKind, ReportError
from tests.factories.scores import MISSED, make_score
from tests.factories.studies import paper_comparison, paper_rows


def cells(table) -> dict[tuple[str, str], tuple[str, ...]]:
    return {row[:2]: row[2:] for row in table.rows}


class TestTable1:
    def test_the_papers_own_cells_and_marks(self):
        found = cells(table_1(paper_rows(), paper_comparison()))

        assert len(found) == 16
        assert found["Attention U-Net", "Bladder"][:2] == ("0.894", "2.167#")
        assert found["Attention U-Net", "CTV-UV"][:2] == ("0.812", "4.950#")
        assert found["ResAU-Net", "Bladder"][:2] == ("0.907#", "2.253")
        assert found["ResAU-Net", "Rectum"][:2] == ("0.727#", "1.985#")
        assert found["ResAU-Net", "CTV-N"][:2] == ("0.827#", "9.588#")
        assert found["ResAU-Net", "CTV-UV"][:2] == ("0.828#", "4.967")

    def test_overall_means_stand_once_per_method(self):
        found = cells(table_1(paper_rows(), paper_comparison()))

        overall = [found[name, "Bladder"][2:] for name in ("U-Net", "Attention U-Net", "U-Net++")]
        assert overall == [("0.796", "5.227"), ("0.810", "4.941"), ("0.803", "5.252")]
        assert found["ResAU-Net", "Bladder"][2:] == ("0.822*", "4.698*")
        assert found["ResAU-Net", "Rectum"][2:] == ("", "")

    def test_seeds_show_as_spread(self):
        rows = [make_score(run="U-Net", seed=s, dice=d) for s, d in enumerate([0.80, 0.84])]
        rows += [make_score(run=run) for run in ("Attention U-Net", "U-Net++", "ResAU-Net")]

        found = cells(table_1(rows, paper_comparison()))

        assert found["U-Net", "Bladder"][0] == "0.820 ± 0.028"

    def test_a_missed_structure_is_shown_and_never_best(self):
        rows = [row for row in paper_rows() if row.run != "ResAU-Net"]
        rows += [make_score(0, run="ResAU-Net", hd95_mm=0.1)]
        rows += [make_score(1, run="ResAU-Net", **MISSED)]

        found = cells(table_1(rows, paper_comparison()))

        assert found["ResAU-Net", "Bladder"][1] == "0.100 (1 inf)"
        assert found["ResAU-Net", "Rectum"][1] == "-"
        assert found["Attention U-Net", "Bladder"][1] == "2.167#"

    def test_the_slicewise_table_has_the_slicewise_numbers(self):
        names = ("U-Net", "Attention U-Net", "U-Net++", "ResAU-Net")
        rows = [make_score(run=n, slice_dice=0.6, slice_hd95_mm=1.5) for n in names]

        table = table_1_slicewise(rows, paper_comparison())

        assert table.name == "networks_table_2d"
        # what is equally good is marked equally
        assert {row[2:4] for row in table.rows} == {("0.600#", "1.500#")}

    def test_a_run_without_rows_is_named(self):
        with pytest.raises(ReportError, match="ResAU-Net"):
            table_1([r for r in paper_rows() if r.run != "ResAU-Net"], paper_comparison())


class TestMeansTable:
    def test_the_three_forms_of_mdsc_stand_beside_each_other(self):
        rows = [
            make_score(i, run=run, dice=0.8, background_dice=0.98, slice_dice_both_empty_1=0.9)
            for run in ("U-Net", "Attention U-Net", "U-Net++", "ResAU-Net")
            for i in range(4)
        ]

        table = means_table(rows, paper_comparison())

        row = dict(zip(table.header, table.rows[0], strict=True))
        assert row["mdsc_fg [95 % CI]"] == "0.800 [0.800, 0.800]"
        assert row["mdsc_5"] == "0.890"
        assert row["mdsc_slicewise_bothempty1"] == "0.900"


class TestPartsTable:
    def test_every_part_has_every_run_and_its_best(self):
        comparison = paper_comparison(ComparisonKind.ABLATION, parts=("test", "obese"))
        rows = paper_rows() + paper_rows(part="obese")

        table = parts_table(rows, comparison)

        assert [row[0] for row in table.rows] == ["test"] * 4 + ["obese"] * 4
        assert table.rows[7][1:5] == ("ResAU-Net", "8", "0.822*", "4.698*")

    def test_presence_errors_add_up_over_the_structures_of_a_case(self):
        rows = [make_score(0, false_positive_slices=2)]
        rows += [make_score(0, structure="Rectum", false_negative_slices=3)]
        rows += [make_score(1), make_score(1, structure="Rectum")]

        assert presence_errors_per_case(rows) == 2.5
