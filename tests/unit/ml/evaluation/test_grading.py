import pytest

from ml.evaluation.grading import (
    Grade,
    StructureGrades,
    count_grades,
    mean_acceptability,
    mean_percentages,
)

PUBLISHED = {
    "Bladder": ((616, 28, 14, 20), (90.86, 4.13, 2.06, 2.95), 94.99),
    "Rectum": ((536, 61, 23, 58), (79.06, 9.00, 3.39, 8.55), 88.05),
    "CTV-N": ((466, 117, 69, 26), (68.73, 17.26, 10.18, 3.83), 85.99),
    "CTV-UV": ((460, 90, 61, 67), (67.85, 13.27, 9.00, 9.88), 81.12),
}
GRADES = [StructureGrades(structure=k, counts=v[0]) for k, v in PUBLISHED.items()]


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
        given = [Grade.MAJOR_REVISION, Grade.ACCEPTABLE, Grade.ACCEPTABLE, Grade.NOT_ACCEPTABLE]

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
