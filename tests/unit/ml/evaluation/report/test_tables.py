import csv
import io
import math

import pytest

from ml.evaluation.report.tables import Table, number, p_value, with_interval, with_spread


@pytest.fixture
def table() -> Table:
    return Table(
        name="t", title="A table", header=("Run", "x"), rows=(("a|b, c", "1"),), note="What it is."
    )


class TestTable:
    def test_csv_brings_cells_back(self, table):
        assert list(csv.reader(io.StringIO(table.to_csv()))) == [["Run", "x"], ["a|b, c", "1"]]

    def test_markdown_escapes_the_column_sign(self, table):
        assert table.to_markdown().splitlines() == [
            "### A table",
            "",
            "| Run | x |",
            "| --- | --- |",
            "| a\\|b, c | 1 |",
            "",
            "What it is.",
        ]

    def test_rows_fit_the_header(self):
        with pytest.raises(ValueError, match="does not fit"):
            Table(name="t", title="T", header=("a", "b"), rows=(("1",),))


class TestNumbers:
    def test_what_there_is_not_is_a_dash(self):
        assert number(math.nan, 3) == p_value(math.nan) == "-"
        assert with_spread(math.nan, math.nan, 3) == "-"

    def test_spread_and_interval_are_left_out_where_there_is_none(self):
        assert with_spread(0.8225, math.nan, 3) == "0.823"
        assert with_interval(0.5, math.nan, math.nan, 2) == "0.50"

    def test_all_is_printed_to_the_same_digit(self):
        assert with_spread(0.8, 0.0124, 3) == "0.800 ± 0.012"
        assert with_interval(4.7, 4.25, 5.1, 1) == "4.7 [4.2, 5.1]"
        assert number(math.inf, 1) == "inf"

    @pytest.mark.parametrize(
        ("p", "text"), [(0.0004, "< 0.001"), (0.001, "0.001"), (0.0371, "0.037"), (1.0, "1.000")]
    )
    def test_small_probabilities_are_bounds(self, p, text):
        assert p_value(p) == text
