import math

import pytest

from ml.config import NetworkName
from ml.data.dataset import open_dataset
from ml.experiments.baselines import BASELINE_LABELS
from ml.experiments.study import OURS, PAPER, RANDOMISED, StudyPreset, plan_study, run_study
from ml.experiments.study_report import NETWORK_TITLES, RECIPE_TITLES, write_study
from ml.phantom.acquisition import PhantomTier
from ml.planning.recipes import PARTS_OF_OURS

TINY = StudyPreset(
    tier=PhantomTier.TINY,
    cohort=9,
    held_out=1,
    randomised=1,
    pixels=32,
    epochs=1,
    slices_per_epoch=16,
    seeds=(0,),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(TINY, folder, 1)


class TestPlan:
    def test_the_whole_study_has_three_seeds_of_every_comparison(self):
        runs = plan_study(StudyPreset())

        assert len(runs.losses) == 4 * 3
        assert len(runs.networks) == 3 * 3
        assert len(runs.ours) == 3
        assert {run.label for run in runs.ablations} == {
            f"{OURS}-without-{p}" for p in PARTS_OF_OURS
        }
        assert len({run.name for run in runs.on_cohort}) == len(runs.on_cohort)

    def test_comparisons_follow_one_protocol(self):
        runs = plan_study(StudyPreset(seeds=(0,)))

        assert len({run.config.training for run in [*runs.losses, *runs.networks]}) == 1
        assert {run.config.network.name for run in runs.networks} | {NetworkName.RESAUNET} == set(
            NetworkName
        )


class TestRunStudy:
    def test_every_run_is_scored_on_the_test_cases(self, study):
        _, rows = study

        labels = {row.run for row in rows if row.part == "test"}
        assert labels >= {
            PAPER,
            OURS,
            RANDOMISED,
            *NETWORK_TITLES,
            *RECIPE_TITLES,
            *BASELINE_LABELS,
        }

    def test_recipes_are_scored_on_every_held_out_set_and_comparisons_are_not(self, study):
        _, rows = study

        parts = {label: {row.part for row in rows if row.run == label} for label in (OURS, PAPER)}
        assert parts[OURS] == parts[PAPER]
        assert "metal-hip" in parts[OURS]
        assert {row.part for row in rows if row.run == "loss-ce"} == {"test"}

    def test_no_patient_is_in_two_parts(self, study):
        folder, rows = study
        split = open_dataset(folder / "phantoms").split
        assert split is not None
        seen = {*split.training, *split.validation}
        assert not seen & {row.patient for row in rows}
        assert not set(split.training) & set(split.validation)

    def test_the_report_says_what_was_done_and_is_repeatable(self, study, tmp_path):
        folder, rows = study

        page = write_study(TINY, rows, folder, tmp_path / "first").read_text()
        write_study(TINY, run_study(TINY, folder, 1), folder, tmp_path / "again")

        assert "synthetic phantoms" in page
        assert "without presence head" in (tmp_path / "first/report.md").read_text()
        names = {path.name for path in (tmp_path / "first").iterdir()}
        assert names == {path.name for path in (tmp_path / "again").iterdir()}
        for name in names:
            first, again = tmp_path / "first" / name, tmp_path / "again" / name
            assert first.read_bytes() == again.read_bytes(), name

    def test_scores_are_numbers_where_there_is_something_to_score(self, study):
        _, rows = study

        assert all(math.isfinite(row.dice) for row in rows if not row.is_absent)
