import dataclasses

import pytest

from ml.evaluation.report.plan import (
    Comparison,
    ComparisonKind,
    ReportedRun,
    ReportError,
    ReportPlan,
    ordered_structures,
    rows_of,
)
from tests.factories.scores import make_score

A, B = ReportedRun(label="a", title="A"), ReportedRun(label="b", title="B")


KNOWN = Comparison(
    name="n", title="N", kind=ComparisonKind.LOSSES, runs=(A, B), reference="a", parts=("test",)
)


class TestComparison:
    @pytest.mark.parametrize(
        "values", [{"runs": ()}, {"runs": (A, A)}, {"parts": ()}, {"reference": "c"}]
    )
    def test_what_contradicts_itself_is_refused(self, values):
        with pytest.raises(ReportError, match="n: "):
            dataclasses.replace(KNOWN, **values)

    @pytest.mark.parametrize("name", ["", "../losses", "a b", "a/b", ".hidden"])
    def test_a_name_no_file_can_have_is_refused(self, name):
        with pytest.raises(ReportError, match="name of a file"):
            dataclasses.replace(KNOWN, name=name)

    def test_the_others_are_all_but_the_reference(self):
        assert KNOWN.others == (B,)


class TestReportPlan:
    def test_comparisons_that_would_share_files_are_refused(self):
        with pytest.raises(ReportError, match="names that differ"):
            ReportPlan(title="R", comparisons=(KNOWN, KNOWN))


class TestRowsOf:
    def test_only_rows_of_the_run_and_part_are_taken(self):
        wanted = make_score(run="a", part="test")

        assert rows_of([wanted, make_score(run="a", part="obese")], "a", "test") == [wanted]

    def test_a_run_without_rows_is_named(self):
        with pytest.raises(ReportError, match="'b' on part 'test'"):
            rows_of([make_score(run="a")], "b", "test")


class TestOrderedStructures:
    def test_the_papers_order_comes_first(self):
        names = ["Kidney", "CTV-UV", "CTV-N", "Bladder"]

        found = ordered_structures([make_score(structure=name) for name in names])

        assert found == ["Bladder", "CTV-N", "CTV-UV", "Kidney"]
