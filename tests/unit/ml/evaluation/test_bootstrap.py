import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.evaluation.bootstrap import draw_counts, draw_indices, interval_of, mean_interval, quantile
from ml.evaluation.measures import DSC, HD95
from tests.factories.scores import ABSENT, MISSED, make_score


class TestMeanInterval:
    def test_equal_patients_leave_no_doubt(self):
        interval = mean_interval([make_score(i, dice=0.75) for i in range(8)], DSC)

        assert (interval.low, interval.high) == (0.75, 0.75)

    def test_it_is_as_wide_as_theory_says(self):
        values = np.random.default_rng(1).normal(0.8, 0.05, 60)

        interval = mean_interval([make_score(i, dice=float(v)) for i, v in enumerate(values)], DSC)

        half_width = 1.96 * values.std() / math.sqrt(60)
        assert interval.low == pytest.approx(values.mean() - half_width, abs=0.15 * half_width)
        assert interval.high == pytest.approx(values.mean() + half_width, abs=0.15 * half_width)

    def test_rows_of_a_patient_are_drawn_together(self):
        cases = [make_score(i, dice=i / 8, seed=seed) for i in range(9) for seed in range(20)]

        once = mean_interval([row for row in cases if row.seed == 0], DSC)

        assert mean_interval(cases, DSC) == once

    def test_structures_weigh_the_same_however_many_rows_they_have(self):
        rows = [make_score(i, dice=1.0) for i in range(6)]
        rows += [make_score(0, dice=0.0, structure="Rectum")]

        interval = mean_interval(rows, DSC)

        # a resample without the only patient with a rectum has the bladder's mean
        assert (interval.low, interval.high) == (0.5, 1.0)

    def test_infinite_values_take_no_part(self):
        rows = [make_score(0, hd95_mm=3.0), make_score(1, **MISSED)]

        assert mean_interval(rows, HD95).high == 3

    def test_without_a_value_there_is_none(self):
        assert math.isnan(mean_interval([make_score(0, **ABSENT)], DSC).low)
        assert math.isnan(mean_interval([], DSC).high)

    def test_it_is_repeatable(self):
        rows = [make_score(i, dice=i / 8) for i in range(9)]

        assert mean_interval(rows, DSC) == mean_interval(rows, DSC)
        assert mean_interval(rows, DSC, seed=1) != mean_interval(rows, DSC)


class TestDraws:
    def test_every_resample_has_as_many_patients_as_there_are(self):
        assert (draw_counts(7, seed=0).sum(axis=1) == 7).all()
        assert draw_indices(7, seed=0).shape == (2000, 7)
        assert set(np.unique(draw_indices(7, seed=0))) == set(range(7))

    def test_the_interval_is_the_central_95_percent(self):
        interval = interval_of(np.arange(1001.0))

        assert (interval.low, interval.high) == pytest.approx((25, 975))


class TestQuantile:
    @given(
        values=st.lists(st.floats(-1e6, 1e6), min_size=1), share=st.sampled_from([0.0, 0.25, 0.5])
    )
    def test_finite_values_have_numpys(self, values, share):
        assert quantile(values, share) == pytest.approx(np.quantile(values, share), abs=1e-9)

    def test_infinite_values_stand_at_the_end(self):
        values = [1.0, math.inf, 2.0, math.nan, math.inf]

        assert quantile(values, 0.25) == 1.75
        assert quantile(values, 0.5) == math.inf
        assert quantile(values, 1.0) == math.inf

    def test_nothing_has_none(self):
        assert math.isnan(quantile([math.nan], 0.5))
