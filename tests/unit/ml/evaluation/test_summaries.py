import math

import pytest

from ml.evaluation.measures import DSC, HD95
from ml.evaluation.summaries import count_empties, over_seeds, run_means, summarize_measure
from tests.factories.scores import ABSENT, MISSED, make_score

HALLUCINATED = MISSED | {"false_negative_slices": 0, "false_positive_slices": 3}


class TestSummarizeMeasure:
    def test_values_by_hand(self):
        summary = summarize_measure(
            [make_score(i, dice=v) for i, v in enumerate([0.5, 0.7, 0.8, 0.9])], DSC
        )

        assert summary.finite == 4
        assert summary.mean == pytest.approx(0.725)
        assert summary.sd == pytest.approx(0.170783, abs=1e-6)
        assert summary.median == pytest.approx(0.75)
        assert summary.lower_quartile == pytest.approx(0.65)
        assert summary.upper_quartile == pytest.approx(0.825)
        assert summary.interval.low < summary.mean < summary.interval.high

    def test_a_missed_structure_shows_in_all_but_the_plain_mean(self):
        rows = [make_score(0, hd95_mm=2.0), make_score(1, hd95_mm=4.0), make_score(2, **MISSED)]

        summary = summarize_measure(rows, HD95)

        assert summary.finite == 2
        assert summary.mean == 3
        assert summary.median == 4
        assert summary.upper_quartile == math.inf
        assert summary.penalised_mean == pytest.approx((2 + 4 + 700) / 3)

    def test_two_empty_masks_count_nowhere(self):
        summary = summarize_measure([make_score(0, dice=0.5), make_score(1, **ABSENT)], DSC)

        assert summary.mean == summary.penalised_mean == 0.5
        assert math.isnan(summary.sd)

    def test_without_a_value_nothing_is_said(self):
        summary = summarize_measure([make_score(1, **ABSENT)], HD95)

        assert summary.finite == 0
        assert math.isnan(summary.mean)
        assert math.isnan(summary.median)
        assert math.isnan(summary.penalised_mean)


class TestCountEmpties:
    def test_every_kind_is_counted(self):
        rows = [make_score(0), make_score(1, **ABSENT), make_score(2, **MISSED)]
        rows += [make_score(3, **HALLUCINATED), make_score(4, **MISSED)]

        counts = count_empties(rows)

        assert (counts.both_empty, counts.missed, counts.hallucinated) == (1, 2, 1)


PAPER_DSC = {"Bladder": 0.907, "Rectum": 0.727, "CTV-N": 0.827, "CTV-UV": 0.828}
PAPER_HD = {"Bladder": 2.253, "Rectum": 1.985, "CTV-N": 9.588, "CTV-UV": 4.967}


def paper_rows(**values) -> list:
    return [
        make_score(structure=name, dice=PAPER_DSC[name], hd95_mm=PAPER_HD[name], **values)
        for name in PAPER_DSC
    ]


class TestRunMeans:
    def test_the_papers_cells_give_its_mhd_and_not_its_mdsc(self):
        means = run_means(paper_rows(background_dice=0.991))

        assert means.mhd_mm == pytest.approx(4.69825)
        assert means.mdsc_fg == pytest.approx(0.82225)
        assert means.mdsc_5 == pytest.approx(0.856, abs=5e-4)

    def test_slices_without_a_structure_count_1_in_the_slicewise_form(self):
        rows = [make_score(slice_dice_both_empty_1=0.9)]
        rows += [make_score(structure="Rectum", slice_dice_both_empty_1=0.7)]

        assert run_means(rows).mdsc_slicewise_bothempty1 == pytest.approx(0.8)

    def test_a_structure_of_few_patients_weighs_as_much_as_the_others(self):
        rows = [make_score(i, dice=1.0) for i in range(9)]
        rows += [make_score(structure="Rectum", dice=0.5)]

        assert run_means(rows).mdsc_fg == 0.75

    def test_a_missed_structure_shows_in_the_penalised_mean_only(self):
        means = run_means([make_score(0, hd95_mm=2.0), make_score(1, **MISSED)])

        assert means.mhd_mm == 2
        assert means.mhd_penalised_mm == 351


class TestOverSeeds:
    def test_spread_by_hand(self):
        rows = [make_score(0, seed=s, dice=v) for s, v in enumerate([0.8, 0.82, 0.84])]

        spread = over_seeds(rows, lambda own: run_means(own).mdsc_fg)

        assert spread.seeds == 3
        assert spread.mean == pytest.approx(0.82)
        assert spread.sd == pytest.approx(0.02)
        assert (spread.low, spread.high) == (0.8, 0.84)

    def test_one_seed_has_no_spread(self):
        spread = over_seeds([make_score()], lambda own: run_means(own).mdsc_fg)

        assert spread.mean == 1
        assert math.isnan(spread.sd)
