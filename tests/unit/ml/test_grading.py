import math
import random

import pytest

from ml.grading import (
    Grade,
    KappaWeights,
    StructureGrades,
    count_grades,
    mean_acceptability,
    mean_percentages,
    weighted_kappa,
    weighted_kappa_of_counts,
)

PUBLISHED = {
    "Bladder": ((616, 28, 14, 20), (90.86, 4.13, 2.06, 2.95), 94.99),
    "Rectum": ((536, 61, 23, 58), (79.06, 9.00, 3.39, 8.55), 88.05),
    "CTV-N": ((466, 117, 69, 26), (68.73, 17.26, 10.18, 3.83), 85.99),
    "CTV-UV": ((460, 90, 61, 67), (67.85, 13.27, 9.00, 9.88), 81.12),
}
GRADES = [StructureGrades(structure=k, counts=v[0]) for k, v in PUBLISHED.items()]


A, MINOR, MAJOR, U = Grade


def kappa_by_matrices(pairs, power):
    """Weighted kappa as libraries write it: matrices of weights, of counts, and of chance."""
    size = len(Grade)
    order = list(Grade)
    counts = [[0] * size for _ in order]
    for first, second in pairs:
        counts[order.index(first)][order.index(second)] += 1
    rows = [sum(row) for row in counts]
    columns = [sum(column) for column in zip(*counts, strict=True)]
    cells = [(i, j) for i in range(size) for j in range(size)]
    chance = {(i, j): rows[i] * columns[j] / sum(rows) for i, j in cells}
    observed = sum(abs(i - j) ** power * counts[i][j] for i, j in cells)
    return 1 - observed / sum(abs(i - j) ** power * chance[i, j] for i, j in cells)


class TestGrade:
    def test_values_are_codes_and_titles_are_the_papers(self):
        assert [grade.value for grade in Grade] == [
            "acceptable",
            "minor_revision",
            "major_revision",
            "unacceptable",
        ]
        assert [grade.title for grade in Grade] == [
            "Acceptable",
            "Minor revision",
            "Major revision",
            "Not acceptable",
        ]


class TestThePublishedTable:
    @pytest.mark.parametrize("grades", GRADES, ids=lambda g: g.structure)
    def test_shares_of_every_structure(self, grades):
        _, percentages, acceptability = PUBLISHED[grades.structure]

        assert grades.total == 678
        assert [round(p, 2) for p in grades.percentages] == list(percentages)
        assert round(grades.acceptability, 2) == acceptability

    def test_means_over_structures(self):
        means = [round(p, 2) for p in mean_percentages(GRADES)]

        assert means == [76.62, 10.91, 6.16, 6.31]
        # the paper prints 87.53, and 88.06 for the rectum
        assert round(mean_acceptability(GRADES), 2) == 87.54


class TestStructureGrades:
    def test_grades_are_counted_in_their_order(self):
        given = [Grade.MAJOR_REVISION, Grade.ACCEPTABLE, Grade.ACCEPTABLE, Grade.UNACCEPTABLE]

        found = count_grades("Bladder", given)

        assert found.counts == (2, 0, 1, 1)
        assert found.acceptability == 50

    @pytest.mark.parametrize("counts", [(0, 0, 0, 0), (3, -1, 0, 0)])
    def test_counts_that_are_none_are_refused(self, counts):
        with pytest.raises(ValueError, match="Bladder"):
            StructureGrades(structure="Bladder", counts=counts)

    @pytest.mark.parametrize("mean", [mean_acceptability, mean_percentages])
    def test_no_structure_has_no_mean(self, mean):
        with pytest.raises(ValueError, match="no structure"):
            mean([])


class TestWeightedKappa:
    def test_equal_grades_agree_wholly(self):
        assert weighted_kappa([(A, A), (MAJOR, MAJOR), (U, U)]) == 1

    @pytest.mark.parametrize(
        ("weights", "kappa"),
        [
            # (A, A) (A, MINOR) (MAJOR, MAJOR) (U, A): of the first reader 2 A, 1 MAJOR, 1 U, of
            # the second 2 A, 1 MINOR, 1 MAJOR. Observed 0 + 1 + 0 + 3 = 4; by chance, times 4
            # pairs, A 2 (1 + 2), MAJOR (2 2 + 1), U (2 3 + 2 + 1) = 6 + 5 + 9 = 20.
            (KappaWeights.LINEAR, 1 - 4 * 4 / 20),
            # Squared: observed 1 + 9 = 10; A 2 (1 + 4), MAJOR (2 4 + 1), U (2 9 + 4 + 1) = 42.
            (KappaWeights.QUADRATIC, 1 - 4 * 10 / 42),
        ],
    )
    def test_is_what_a_hand_computes(self, weights, kappa):
        pairs = [(A, A), (A, MINOR), (MAJOR, MAJOR), (U, A)]
        assert weighted_kappa(pairs, weights) == pytest.approx(kappa, abs=1e-12)

    def test_is_0_where_one_reader_says_the_same_of_everything(self):
        assert weighted_kappa([(A, A), (A, U), (A, MAJOR)]) == 0

    def test_is_minus_1_where_two_readers_say_the_opposite(self):
        assert weighted_kappa([(A, U), (U, A)]) == -1

    def test_squares_by_default_so_that_a_near_miss_counts_less(self):
        near = [(A, A), (A, A), (U, U), (U, U), (A, MINOR)]
        assert weighted_kappa(near) == weighted_kappa(near, KappaWeights.QUADRATIC)
        assert weighted_kappa(near) > weighted_kappa(near, KappaWeights.LINEAR)

    @pytest.mark.parametrize(("weights", "power"), [("linear", 1), ("quadratic", 2)])
    def test_equals_the_formula_of_matrices(self, weights, power):
        drawn = random.Random(7)
        for _ in range(50):
            count = drawn.randint(5, 60)
            pairs = [(drawn.choice(list(Grade)), drawn.choice(list(Grade))) for _ in range(count)]
            pairs += [(A, U)]  # chance is never 0
            found = weighted_kappa(pairs, KappaWeights(weights))
            assert found == pytest.approx(kappa_by_matrices(pairs, power), abs=1e-12)
            assert found == weighted_kappa([(b, a) for a, b in pairs], KappaWeights(weights))

    @pytest.mark.parametrize("pairs", [[], [(MINOR, MINOR)] * 5])
    def test_is_no_number_without_anything_to_disagree_about(self, pairs):
        assert math.isnan(weighted_kappa(pairs))

    def test_counted_pairs_weigh_like_the_pairs_themselves(self):
        counts = {(A, A): 30, (A, MINOR): 4, (MINOR, A): 3, (MAJOR, U): 2, (U, U): 9}
        pairs = [pair for pair, count in counts.items() for _ in range(count)]
        for weights in KappaWeights:
            assert weighted_kappa_of_counts(counts, weights) == weighted_kappa(pairs, weights)
