import os

import numpy as np
import pytest

from ml.data.dataset import CASE_FILE, DatasetError, case_sha256
from ml.data.phantom_dataset import (
    case_id,
    held_out_specs,
    paper_cohort_specs,
    phantom_source,
    write_phantom_dataset,
)
from ml.data.pools import THREAD_VARIABLES
from ml.data.splits import split_patients
from ml.phantom import cohort
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec
from ml.phantom.variants import PhantomVariant
from tests.factories.phantoms import make_phantom

TINY = PhantomTier.TINY
METAL = PhantomSpec(seed=8, tier=TINY, variant=PhantomVariant.METAL_HIP)
SPECS = [PhantomSpec(seed=7, tier=TINY), METAL]


@pytest.fixture
def written(tmp_path):
    return write_phantom_dataset(tmp_path / "d", "phantoms", SPECS, processes=1)


def written_at(dataset):
    return {
        f.case_id: (dataset.folder / "cases" / f.case_id / CASE_FILE).stat().st_mtime_ns
        for f in dataset.facts()
    }


class TestSpecs:
    def test_the_cohort_has_as_many_standard_phantoms_as_the_paper_has_patients(self):
        specs = paper_cohort_specs(TINY)
        assert len(specs) == len({s.seed for s in specs}) == 111 + 30 + 15
        assert specs[0].seed == 100_000
        assert {s.variant for s in specs} == {PhantomVariant.STANDARD}
        assert {s.tier for s in specs} == {TINY}

    def test_every_held_out_kind_has_the_count_and_no_seed_is_used_twice(self):
        specs = held_out_specs(TINY, 5)
        kinds = set(PhantomVariant) - {PhantomVariant.STANDARD}
        assert {k: sum(s.variant is k for s in specs) for k in kinds} == dict.fromkeys(kinds, 5)
        seeds = {s.seed for s in specs}
        assert len(seeds) == len(specs)
        assert seeds.isdisjoint(s.seed for s in paper_cohort_specs(TINY))

    def test_more_phantoms_keep_the_first_ones(self):
        few, many = held_out_specs(TINY, 2), held_out_specs(TINY, 4)
        assert set(few) < set(many)

    @pytest.mark.parametrize("count", [-1, 10_001])
    def test_counts_beyond_a_kinds_seeds_are_refused(self, count):
        with pytest.raises(ValueError, match="0 to 10000"):
            held_out_specs(TINY, count)

    def test_names_tell_seed_and_variant(self):
        assert case_id(PhantomSpec(seed=123)) == "phantom-000123"
        assert case_id(METAL) == "phantom-000008-metal-hip"


class TestWritePhantomDataset:
    def test_cases_hold_the_phantoms_pixels_and_labels(self, written):
        assert written.name == "phantoms"
        case = written.read_case("phantom-000007")
        np.testing.assert_array_equal(case.volume.hu, make_phantom(7).volume.hu)
        np.testing.assert_array_equal(case.labels, make_phantom(7).labels)
        assert case.patient_id == case.case_id

    def test_sources_tell_what_scores_may_be_grouped_by(self, written):
        source = written.read_case("phantom-000008-metal-hip").source
        phantom = make_phantom(8, variant=PhantomVariant.METAL_HIP)
        assert source == phantom_source(phantom)
        assert source["generator_version"] == cohort.GENERATOR_VERSION
        assert (source["seed"], source["tier"], source["variant"]) == (8, "tiny", "metal-hip")
        assert source["uterus"] == phantom.anatomy.uterus.position.value
        assert source["intravenous_contrast"] == phantom.tissue.intravenous_contrast

    def test_what_is_there_is_kept_and_told_too(self, written):
        before, told = written_at(written), []

        write_phantom_dataset(written.folder, "phantoms", SPECS, 1, told.append)

        assert written_at(written) == before
        assert sorted(told) == ["phantom-000007", "phantom-000008-metal-hip"]

    def test_a_stopped_run_is_continued(self, tmp_path):
        first = write_phantom_dataset(tmp_path, "p", SPECS[:1], 1)
        before = written_at(first)

        both = write_phantom_dataset(tmp_path, "p", SPECS, 1)

        assert written_at(both).keys() == {"phantom-000007", "phantom-000008-metal-hip"}
        assert written_at(both)["phantom-000007"] == before["phantom-000007"]

    def test_cases_of_another_generator_are_made_anew(self, written):
        file = written.folder / "cases" / "phantom-000007" / CASE_FILE
        old = file.read_text()
        file.write_text(old.replace('"generator_version": "', '"generator_version": "0.'))

        write_phantom_dataset(written.folder, "phantoms", SPECS, 1)

        assert file.read_text() == old

    def test_cases_of_another_tier_are_made_anew(self, written):
        file = written.folder / "cases" / "phantom-000007" / CASE_FILE
        file.write_text(file.read_text().replace('"tier": "tiny"', '"tier": "full"'))

        write_phantom_dataset(written.folder, "phantoms", SPECS, 1)

        assert written.read_case("phantom-000007").source["tier"] == "tiny"

    def test_a_split_survives_further_cases(self, tmp_path):
        dataset = write_phantom_dataset(tmp_path, "p", SPECS[:1], 1)
        split = split_patients(["a", "b", "c"], seed=0, proportions=(1, 1, 1))
        dataset.with_split(split)

        assert write_phantom_dataset(tmp_path, "p", SPECS, 1).split == split

    def test_two_tiers_of_one_seed_are_refused(self, tmp_path):
        specs = [PhantomSpec(seed=7, tier=tier) for tier in (TINY, PhantomTier.SMALL)]
        with pytest.raises(DatasetError, match="one id"):
            write_phantom_dataset(tmp_path, "p", specs, 1)

    @pytest.mark.slow
    def test_several_processes_write_the_same_cases(self, written, tmp_path):
        environment = {name: os.environ.get(name) for name in THREAD_VARIABLES}

        parallel = write_phantom_dataset(tmp_path / "parallel", "p", SPECS, 2)

        assert [f.sha256 for f in parallel.facts()] == [f.sha256 for f in written.facts()]
        assert {name: os.environ.get(name) for name in THREAD_VARIABLES} == environment

    def test_the_hash_is_of_what_was_generated(self, written):
        case = written.read_case("phantom-000007")
        assert case_sha256(case) == next(
            f.sha256 for f in written.facts() if f.case_id == case.case_id
        )
