from ml.phantom.acquisition import PhantomTier
from ml.training.demo_cohort import DemoCohort, coarsen_phantoms, patient_id
from tests.factories.cases import make_case


class TestDemoCohort:
    def test_no_phantom_is_in_two_parts(self):
        cohort = DemoCohort()

        parts = [cohort.training_specs, cohort.validation_specs, cohort.test_specs]
        seeds = [spec.seed for part in parts for spec in part]
        assert len(set(seeds)) == len(seeds) == 80 + 80 + 12 + 15
        assert len({patient_id(spec) for part in parts for spec in part}) == len(seeds)

    def test_it_is_measured_on_full_size_phantoms(self):
        tiers = {spec.tier for spec in DemoCohort().test_specs}

        assert tiers == {PhantomTier.FULL}


class TestCoarsenPhantoms:
    def test_what_is_there_is_not_made_again(self, tmp_path):
        cases = [make_case(0), make_case(1)]
        coarsen_phantoms(cases, tmp_path)
        made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}

        again = coarsen_phantoms(cases, tmp_path)

        assert [case.patient_id for case in again] == ["case-0", "case-1"]
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == made
