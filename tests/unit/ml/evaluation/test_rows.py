import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.evaluation.rows import RowsError, column_names, read_rows, write_rows
from tests.factories.scores import ABSENT, MISSED, make_score


class TestCaseScore:
    def test_errors_follow_from_what_is_stored(self):
        score = make_score(prediction_ml=180.5, false_positive_slices=2, false_negative_slices=3)

        assert score.volume_error_ml == -19.5
        assert score.presence_error_slices == 5

    @pytest.mark.parametrize(
        ("values", "missed", "hallucinated", "absent"),
        [
            ({}, False, False, False),
            (MISSED, True, False, False),
            ({"true_positive_slices": 0, "false_positive_slices": 4}, False, True, False),
            (ABSENT, False, False, True),
        ],
    )
    def test_empty_masks_are_told_apart(self, values, missed, hallucinated, absent):
        score = make_score(**values)

        assert (score.is_missed, score.is_hallucinated, score.is_absent) == (
            missed,
            hallucinated,
            absent,
        )


class TestFile:
    @given(
        dice=st.floats(0, 1) | st.just(float("nan")),
        hd95=st.floats(0, allow_infinity=True),
        run=st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=8),
    )
    def test_rows_come_back_to_the_last_bit(self, tmp_path_factory, dice, hd95, run):
        path = tmp_path_factory.mktemp("rows") / "rows.csv"
        score = make_score(dice=dice, hd95_mm=hd95, run=run)

        write_rows(path, [score])

        np.testing.assert_equal(
            [dataclasses.asdict(row) for row in read_rows(path)], [dataclasses.asdict(score)]
        )

    def test_equal_rows_give_equal_files(self, tmp_path):
        for name in ("one.csv", "two.csv"):
            write_rows(tmp_path / name, [make_score(hd95_mm=1 / 3), make_score(1, **MISSED)])

        assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()

    def test_the_first_columns_say_whose_row_it_is(self):
        assert column_names()[:6] == ["run", "seed", "part", "case", "patient", "structure"]

    def test_a_missing_column_is_named(self, tmp_path):
        (tmp_path / "rows.csv").write_text("run,seed\na,0\n")

        with pytest.raises(RowsError, match="dice"):
            read_rows(tmp_path / "rows.csv")

    @pytest.mark.parametrize("cell", ["high", ""])
    def test_a_wrong_cell_is_named_with_its_line(self, tmp_path, cell):
        path = tmp_path / "rows.csv"
        write_rows(path, [make_score(), make_score(dice=0.123)])
        path.write_text(path.read_text().replace("0.123", cell))

        with pytest.raises(RowsError, match="line 3"):
            read_rows(path)

    def test_a_short_line_is_an_error(self, tmp_path):
        path = tmp_path / "rows.csv"
        write_rows(path, [make_score()])
        path.write_text(path.read_text() + "a,0\n")

        with pytest.raises(RowsError, match="line 3"):
            read_rows(path)
