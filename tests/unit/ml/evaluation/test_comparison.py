import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.evaluation.comparison import ALL_STRUCTURES, compare_runs, holm, signed_rank_p
from ml.evaluation.measures import DSC, HD95
from tests.factories.scores import ABSENT, MISSED, make_score


def run_of(name: str, values: list[float], **others) -> list:
    return [make_score(i, run=name, dice=v, **others) for i, v in enumerate(values)]


BASE = [0.70, 0.72, 0.75, 0.78, 0.80, 0.81, 0.83, 0.86]


class TestHolm:
    def test_the_textbook_example(self):
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_none_exceeds_1_and_none_counts_that_is_not_a_number(self):
        adjusted = holm([0.6, math.nan, 0.7])

        assert adjusted[0] == adjusted[2] == 1
        assert math.isnan(adjusted[1])

    @given(st.lists(st.floats(0, 1), max_size=8))
    def test_order_is_kept_and_nothing_becomes_smaller(self, values):
        adjusted = holm(values)

        assert all(a >= p for a, p in zip(adjusted, values, strict=True))
        ranked = [adjusted[i] for i in np.argsort(values)]
        assert ranked == sorted(ranked)


class TestSignedRank:
    def test_all_differences_of_one_sign_have_the_smallest_p(self):
        assert signed_rank_p([0.01, 0.02, 0.03, 0.04, 0.05, 0.06]) == pytest.approx(2 / 2**6)

    def test_no_difference_at_all_is_no_evidence(self):
        assert signed_rank_p([0.0] * 8) == 1

    def test_few_patients_are_not_tested(self):
        assert math.isnan(signed_rank_p([0.1] * 5))


class TestCompareRuns:
    def test_a_constant_gain_is_found(self):
        better = [v + 0.02 + 0.001 * i for i, v in enumerate(BASE)]
        rows = run_of("base", BASE) + run_of("better", better)

        bladder, overall = compare_runs(rows, "base", ["better"], DSC)

        assert (bladder.run, bladder.reference, bladder.structure) == ("better", "base", "Bladder")
        assert bladder.patients == 8
        assert bladder.median_difference == pytest.approx(0.0235)
        assert 0.02 <= bladder.interval.low < bladder.median_difference < bladder.interval.high
        assert bladder.p == pytest.approx(2 / 2**8)
        assert bladder.p_holm == pytest.approx(4 / 2**8)
        assert overall.structure == ALL_STRUCTURES
        assert overall.p == bladder.p

    def test_the_order_of_rows_plays_no_part(self):
        rows = run_of("base", BASE) + run_of("other", BASE[::-1])

        assert compare_runs(rows[::-1], "base", ["other"], DSC) == compare_runs(
            rows, "base", ["other"], DSC
        )

    def test_seeds_of_a_patient_are_averaged_first(self):
        rows = run_of("base", BASE) + run_of("other", BASE, seed=0)
        rows += run_of("other", [v + 0.2 for v in BASE], seed=1)

        found = compare_runs(rows, "base", ["other"], DSC)[0]

        assert found.patients == 8
        assert found.median_difference == pytest.approx(0.1)

    def test_a_missed_structure_counts_with_the_images_diagonal(self):
        rows = [make_score(i, run="base", hd95_mm=5.0) for i in range(6)]
        rows += [make_score(i, run="other", **MISSED) for i in range(6)]

        assert compare_runs(rows, "base", ["other"], HD95)[0].median_difference == 695

    def test_only_patients_with_a_value_in_both_runs_are_compared(self):
        rows = run_of("base", BASE) + run_of("other", BASE[:7])
        rows += [make_score(7, run="other", **ABSENT)]

        assert compare_runs(rows, "base", ["other"], DSC)[0].patients == 7

    def test_runs_without_shared_patients_are_not_judged(self):
        rows = [make_score(0, run="base"), make_score(1, run="other")]

        found = compare_runs(rows, "base", ["other"], DSC)[0]

        assert found.patients == 0
        assert math.isnan(found.median_difference)
        assert math.isnan(found.interval.low)
        assert math.isnan(found.p_holm)
