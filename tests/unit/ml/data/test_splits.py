import pytest

from ml.data.splits import split_patients

IDS = [f"p{i:03d}" for i in range(156)]


class TestSplit:
    def test_156_patients_split_as_in_the_paper(self):
        split = split_patients(IDS, seed=0)

        assert (len(split.training), len(split.validation), len(split.test)) == (111, 30, 15)

    def test_no_patient_is_in_two_parts_and_none_is_lost(self):
        split = split_patients(IDS[:37], seed=3)

        assert sorted(split.training + split.validation + split.test) == IDS[:37]

    def test_the_order_of_the_ids_plays_no_part(self):
        assert split_patients(IDS, seed=1) == split_patients(IDS[::-1], seed=1)

    def test_another_seed_splits_otherwise(self):
        assert split_patients(IDS, seed=1) != split_patients(IDS, seed=2)

    def test_a_patient_given_twice_is_refused(self):
        with pytest.raises(ValueError, match="twice"):
            split_patients(["a", "b", "a"], seed=0)
