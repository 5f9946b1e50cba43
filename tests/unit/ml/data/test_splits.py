import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.data.splits import PAPER_PROPORTIONS, Split, extend_split, split_patients

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

    @pytest.mark.parametrize("proportions", [(0, 0, 0), (3, -1, 1)])
    def test_proportions_that_are_none_are_refused(self, proportions):
        with pytest.raises(ValueError, match="proportions"):
            split_patients(IDS, seed=0, proportions=proportions)
        with pytest.raises(ValueError, match="proportions"):
            extend_split(split_patients(IDS, seed=0), IDS, seed=0, proportions=proportions)


def parts(split):
    return [split.training, split.validation, split.test]


@st.composite
def extensions(draw):
    """Patients of every part, the patients of another day, and proportions."""
    known = draw(st.lists(st.sampled_from(IDS), unique=True))
    places = draw(st.lists(st.sampled_from([0, 1, 2]), min_size=len(known), max_size=len(known)))
    old = [[k for k, p in zip(known, places, strict=True) if p == place] for place in range(3)]
    present = draw(st.lists(st.sampled_from(IDS), unique=True))
    shares = draw(st.tuples(*[st.integers(0, 9)] * 3).filter(any))
    return old, present, shares


def split_of(old):
    training, validation, test = (tuple(part) for part in old)
    return Split(training=training, validation=validation, test=test, seed=0)


class TestExtendSplit:
    @given(extensions(), st.integers(0, 5))
    def test_nobody_crosses_and_everybody_is_dealt_in_whatever_order(self, extension, seed):
        old, present, shares = extension
        previous = split_of(old)

        split = extend_split(previous, present, seed=seed, proportions=shares)

        assert sorted(p for part in parts(split) for p in part) == sorted(present)
        for before, after in zip(parts(previous), parts(split), strict=True):
            assert {p for p in before if p in present} <= set(after)
        turned = extend_split(previous, present[::-1], seed=seed, proportions=shares)
        assert turned == split

    @given(extensions())
    def test_no_other_dealing_comes_nearer_to_the_proportions(self, extension):
        old, present, shares = extension
        previous = split_of(old)
        split = extend_split(previous, present, seed=0, proportions=shares)
        kept = [sum(p in present for p in part) for part in parts(previous)]
        new = len(present) - sum(kept)

        def distance(sizes):
            wanted = [len(present) * share / sum(shares) for share in shares]
            return sum((size - want) ** 2 for size, want in zip(sizes, wanted, strict=True))

        others = [
            (kept[0] + a, kept[1] + b, kept[2] + new - a - b)
            for a in range(new + 1)
            for b in range(new + 1 - a)
        ]
        found = distance([len(part) for part in parts(split)])
        assert found == pytest.approx(min(map(distance, others)), abs=1e-9)

    def test_grows_to_the_papers_sizes(self):
        first = split_patients(IDS[:40], seed=0)

        grown = extend_split(first, IDS, seed=0)

        assert [len(part) for part in parts(grown)] == list(PAPER_PROPORTIONS)

    def test_another_seed_deals_the_new_ones_otherwise(self):
        first = split_patients(IDS[:40], seed=0)
        assert parts(extend_split(first, IDS, seed=1)) != parts(extend_split(first, IDS, seed=2))
        assert extend_split(first, IDS, seed=1).seed == 1

    def test_a_patient_given_twice_is_refused(self):
        with pytest.raises(ValueError, match="twice"):
            extend_split(split_patients(["a"], seed=0), ["b", "b"], seed=0)
