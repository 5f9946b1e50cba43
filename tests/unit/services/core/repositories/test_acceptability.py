"""Grades are counted by group, and readers compared, by the database alone."""

import datetime as dt
from collections import Counter
from statistics import median
from uuid import UUID

import numpy as np
import pytest

from ml.grading import Grade
from services.core.repositories.acceptability import AgreementCell, GroupKey, ReviewFilter
from services.core.unit_of_work import UnitOfWork
from tests.factories.reviews import add_finished_job, add_review
from tests.fakes import Clock

ALL = ReviewFilter()
LETTERS = dict(zip("amMu", [grade.value for grade in Grade], strict=True))


@pytest.fixture
def jobs(uow: UnitOfWork, clock: Clock) -> list[UUID]:
    """Three jobs of two model versions; the third a month later."""
    made = [add_finished_job(uow, model_version=version).id for version in ("v1", "v2")]
    clock.advance(days=31)
    return [*made, add_finished_job(uow, model_version="v2").id]


def counts(uow: UnitOfWork, wanted: ReviewFilter, *group_by: GroupKey) -> dict:
    with uow:
        found = uow.acceptability.count_grades(wanted, group_by)
    return {(*count.key, count.structure): count.counts for count in found}


class TestCounts:
    def test_superseded_reviews_count_no_more(self, uow: UnitOfWork, jobs: list[UUID]) -> None:
        add_review(uow, jobs[0], {"Bladder": "uuu"})
        add_review(uow, jobs[0], {"Bladder": "aam"})
        add_review(uow, jobs[1], {"Bladder": "M", "Rectum": "a"})

        assert counts(uow, ALL) == {("Bladder",): (2, 1, 1, 0), ("Rectum",): (1, 0, 0, 0)}

    def test_nothing_has_no_group(self, uow: UnitOfWork) -> None:
        with uow:
            assert uow.acceptability.count_grades(ALL, []) == []
            assert uow.acceptability.agreement(ALL) == []

    def test_groups(self, uow: UnitOfWork, jobs: list[UUID], clock: Clock) -> None:
        add_review(uow, jobs[0], {"Bladder": "a"}, reviewer="anna")
        add_review(uow, jobs[1], {"Bladder": "m"}, reviewer="anna")
        clock.advance(days=31)  # the reviews before are of February, this one of March
        add_review(uow, jobs[2], {"Bladder": "u"}, reviewer="bert")

        assert counts(uow, ALL, GroupKey.MODEL_VERSION) == {
            ("v1", "Bladder"): (1, 0, 0, 0),
            ("v2", "Bladder"): (0, 1, 0, 1),
        }
        assert counts(uow, ALL, GroupKey.MONTH, GroupKey.REVIEWER) == {
            ("2026-02", "anna", "Bladder"): (1, 1, 0, 0),
            ("2026-03", "bert", "Bladder"): (0, 0, 0, 1),
        }
        assert counts(uow, ALL, GroupKey.JOB_MONTH) == {
            ("2026-01", "Bladder"): (1, 1, 0, 0),
            ("2026-02", "Bladder"): (0, 0, 0, 1),
        }
        assert counts(uow, ALL, GroupKey.STRUCTURE) == {("Bladder", "Bladder"): (1, 1, 0, 1)}

    def test_filters(self, uow: UnitOfWork, jobs: list[UUID], clock: Clock) -> None:
        add_review(uow, jobs[0], {"Bladder": "a", "Rectum": "u"}, reviewer="anna")
        since = clock() + dt.timedelta(days=1)
        clock.advance(days=1)
        add_review(uow, jobs[1], {"Bladder": "m"}, reviewer="bert")

        assert counts(uow, ReviewFilter(model_version="v1", structure="Rectum")) == {
            ("Rectum",): (0, 0, 0, 1)
        }
        assert counts(uow, ReviewFilter(reviewer="bert")) == {("Bladder",): (0, 1, 0, 0)}
        assert counts(uow, ReviewFilter(created_from=since)) == {("Bladder",): (0, 1, 0, 0)}
        assert counts(uow, ReviewFilter(created_to=since, structure="Bladder")) == {
            ("Bladder",): (1, 0, 0, 0)
        }
        assert counts(uow, ReviewFilter(model_version="v9")) == {}


class TestTotals:
    @pytest.mark.parametrize("minutes", [[3.0], [3.0, 8.0], [9.0, 1.0, 4.0], [2.0, 2.0, 5.0, 7.0]])
    def test_the_median_is_that_of_statistics(
        self, uow: UnitOfWork, jobs: list[UUID], minutes: list[float]
    ) -> None:
        for number, value in enumerate(minutes):
            grades = {"Bladder": "a", "Rectum": "a"}
            add_review(uow, jobs[0], grades, reviewer=f"r{number}", minutes=value)
        add_review(uow, jobs[1], {"Bladder": "a"}, reviewer="silent")

        with uow:
            totals = uow.acceptability.totals(ALL, [])[()]

        assert totals.median_minutes == median(minutes)
        assert (totals.jobs, totals.reviews, totals.readers) == (
            2,
            len(minutes) + 1,
            len(minutes) + 1,
        )

    def test_groups_have_their_own(self, uow: UnitOfWork, jobs: list[UUID]) -> None:
        add_review(uow, jobs[0], {"Bladder": "a", "Rectum": "a"}, minutes=2)
        add_review(uow, jobs[1], {"Bladder": "a"}, minutes=4)
        add_review(uow, jobs[2], {"Bladder": "a"}, minutes=10)

        with uow:
            by_version = uow.acceptability.totals(ALL, [GroupKey.MODEL_VERSION])
            by_structure = uow.acceptability.totals(ALL, [GroupKey.STRUCTURE])

        assert {key: t.median_minutes for key, t in by_version.items()} == {("v1",): 2, ("v2",): 7}
        assert by_version["v2",].jobs == 2
        assert {key: t.median_minutes for key, t in by_structure.items()} == {
            ("Bladder",): 4,
            ("Rectum",): 2,
        }


class TestAgreement:
    def test_only_pairs_of_current_reviews_count(self, uow: UnitOfWork, jobs: list[UUID]) -> None:
        add_review(uow, jobs[0], {"Bladder": "uuu"}, reviewer="bert")
        add_review(uow, jobs[0], {"Bladder": "aam"}, reviewer="anna")
        add_review(uow, jobs[0], {"Bladder": "aaa"}, reviewer="bert")

        with uow:
            found = uow.acceptability.agreement(ALL)

        assert found == [
            cell("Bladder", ("anna", "bert"), ("acceptable", "acceptable"), 2),
            cell("Bladder", ("anna", "bert"), ("minor_revision", "acceptable"), 1),
        ]

    def test_filters(self, uow: UnitOfWork, jobs: list[UUID], clock: Clock) -> None:
        for reviewer in ("anna", "bert", "carl"):
            add_review(uow, jobs[0], {"Bladder": "a", "Rectum": "a"}, reviewer=reviewer)
        clock.advance(days=1)
        for reviewer in ("anna", "bert"):
            add_review(uow, jobs[1], {"Bladder": "m"}, reviewer=reviewer)

        def pairs(wanted: ReviewFilter) -> Counter:
            with uow:
                cells = uow.acceptability.agreement(wanted)
            return Counter({(c.structure, *c.readers): c.slices for c in cells})

        assert pairs(ReviewFilter(reviewer="carl", structure="Rectum")) == {
            ("Rectum", "anna", "carl"): 1,
            ("Rectum", "bert", "carl"): 1,
        }
        assert pairs(ReviewFilter(model_version="v2")) == {("Bladder", "anna", "bert"): 1}
        assert pairs(ReviewFilter(created_from=clock())) == {("Bladder", "anna", "bert"): 1}

    def test_counts_are_those_of_the_grades_themselves(
        self, uow: UnitOfWork, jobs: list[UUID]
    ) -> None:
        drawn = np.random.default_rng(3)
        expected: Counter = Counter()
        for job_id in jobs:
            given = {name: "".join(drawn.choice(list("amMu"), 40)) for name in ("anna", "bert")}
            for reviewer, letters in given.items():
                add_review(uow, job_id, {"CTV-N": letters}, reviewer=reviewer)
            expected += Counter(zip(given["anna"], given["bert"], strict=True))

        with uow:
            found = uow.acceptability.agreement(ALL)

        assert {c.grades: c.slices for c in found} == {
            (LETTERS[first], LETTERS[second]): count for (first, second), count in expected.items()
        }


def cell(
    structure: str, readers: tuple[str, str], grades: tuple[str, str], slices: int
) -> AgreementCell:
    return AgreementCell(structure=structure, readers=readers, grades=grades, slices=slices)
