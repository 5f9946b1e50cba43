import dataclasses
import json
import math

import pytest

from ml.evaluation.bootstrap import mean_interval
from ml.evaluation.comparison import compare_runs
from ml.evaluation.measures import DSC, HD95, select
from ml.evaluation.report.plan import ComparisonKind, ReportError, ReportPlan
from ml.evaluation.report.summary import report_summary
from ml.evaluation.summaries import run_means
from tests.factories.scores import ABSENT, MISSED, make_score
from tests.factories.studies import TABLE_1, paper_comparison, paper_rows


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def read(rows, comparison) -> dict:
    """Read a summary as a parser that follows RFC 8259 does."""
    text = report_summary(rows, ReportPlan(title="Größe", comparisons=(comparison,)))
    values = json.loads(text, parse_constant=refuse)
    assert (values["format"], values["title"]) == (1, "Größe")
    return values["comparisons"][0]


class TestReportSummary:
    def test_runs_have_their_means_and_intervals(self):
        rows = paper_rows()

        found = read(rows, paper_comparison())

        assert [run["label"] for run in found["runs"]] == list(TABLE_1)
        [part] = found["runs"][3]["parts"]
        own = select(rows, run="ResAU-Net")
        assert part["means"] == dataclasses.asdict(run_means(own))
        assert part["means"]["mdsc_fg"] == pytest.approx(0.82225)
        assert part["intervals"]["mhd_mm"] == dataclasses.asdict(mean_interval(own, HD95))
        assert (part["part"], part["seeds"], part["cases"], part["patients"]) == ("test", [0], 8, 8)

    def test_structures_have_their_summaries(self):
        rows = paper_rows()

        [part] = read(rows, paper_comparison())["runs"][0]["parts"]

        by_name = {found["structure"]: found for found in part["structures"]}
        assert list(by_name) == list(TABLE_1["U-Net"])
        for name, (dice, distance) in TABLE_1["U-Net"].items():
            own = by_name[name]
            assert own["dice"]["mean"] == pytest.approx(dice)
            assert own["hd95_mm"]["mean"] == pytest.approx(distance)
            interval = mean_interval(select(rows, run="U-Net", structure=name), DSC)
            assert own["dice"]["interval"] == dataclasses.asdict(interval)

    def test_paired_comparisons_have_both_p(self):
        rows = paper_rows()

        paired = read(rows, paper_comparison())["paired"]

        found = [p for p in paired if p["measure"] == "dice"]
        expected = compare_runs(rows, "ResAU-Net", list(TABLE_1)[:3], DSC)
        assert [(p["run"], p["structure"], p["p"], p["p_holm"]) for p in found] == [
            (e.run, e.structure, e.p, e.p_holm) for e in expected
        ]
        assert {p["measure"] for p in paired} == {"dice", "hd95_mm", "presence_error_slices"}

    def test_what_is_no_finite_number_is_null(self):
        rows = [
            make_score(patient, run=run, structure=structure, **values)
            for structure, values in (("Bladder", MISSED), ("Rectum", ABSENT))
            for run in TABLE_1
            for patient in range(2)
        ]

        found = read(rows, paper_comparison())

        bladder, rectum = found["runs"][0]["parts"][0]["structures"]
        assert (bladder["hd95_mm"]["mean"], bladder["hd95_mm"]["median"]) == (None, None)
        assert (bladder["missed"], bladder["dice"]["mean"]) == (2, 0)
        assert (rectum["dice"]["mean"], rectum["both_empty"]) == (None, 2)
        assert {pair["p"] for pair in found["paired"]} == {None}

    def test_every_part_is_summarised(self):
        rows = paper_rows() + paper_rows(part="obese")

        found = read(rows, paper_comparison(ComparisonKind.ABLATION, ("test", "obese")))

        assert [part["part"] for part in found["runs"][0]["parts"]] == ["test", "obese"]
        assert {pair["part"] for pair in found["paired"]} == {"test"}

    def test_a_run_without_rows_is_refused(self):
        with pytest.raises(ReportError, match="no row"):
            read([make_score(run="U-Net", dice=math.nan)], paper_comparison())
