"""Reviews are kept, superseded, counted, and compared with those of other readers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from ml.grading import Grade
from services.core.errors import ReviewNotFoundError
from services.core.repositories.reviews import GRADE_COLUMNS
from services.core.tables.reviews import AgreementTally, Review, ReviewTally
from services.core.unit_of_work import UnitOfWork
from tests.factories.reviews import add_finished_job, add_review
from tests.fakes import Clock


@pytest.fixture
def job_id(uow: UnitOfWork) -> UUID:
    return add_finished_job(uow).id


def current_of(uow: UnitOfWork, job_id: UUID) -> list[UUID]:
    with uow:
        return [r.id for r in uow.reviews.page(job_id, 100) if r.superseded_at is None]


def counts_of(tally: ReviewTally) -> tuple[int, ...]:
    return tuple(getattr(tally, name) for name in GRADE_COLUMNS)


def agreement(engine: sa.Engine) -> dict[tuple[UUID, UUID, str, str, str], int]:
    with engine.connect() as connection:
        rows = connection.execute(sa.select(AgreementTally.__table__)).all()
    return {tuple(row[:5]): row[5] for row in rows}


def test_the_columns_of_a_tally_are_the_grades() -> None:
    assert [grade.value for grade in Grade] == list(GRADE_COLUMNS)


class TestAdd:
    def test_grades_and_their_counts_are_kept(self, uow: UnitOfWork, job_id: UUID) -> None:
        review = add_review(uow, job_id, {"Bladder": "aamu", "CTV-N": "M"})

        with uow:
            tallies = uow.reviews.tallies([review.id])[review.id]
            grades = uow.reviews.grades(review.id)
        assert [(t.structure, counts_of(t)) for t in tallies] == [
            ("Bladder", (2, 1, 0, 1)),
            ("CTV-N", (0, 0, 1, 0)),
        ]
        assert [(g.structure, g.slice_number, g.grade) for g in grades][3:] == [
            ("Bladder", 4, "unacceptable"),
            ("CTV-N", 1, "major_revision"),
        ]

    def test_the_latest_of_a_reader_counts_and_none_is_lost(
        self, uow: UnitOfWork, job_id: UUID, clock: Clock
    ) -> None:
        first = add_review(uow, job_id, {"Bladder": "u"})
        other = add_review(uow, job_id, {"Bladder": "a"}, reviewer="bert")
        clock.advance(minutes=1)
        second = add_review(uow, job_id, {"Bladder": "m"})

        assert set(current_of(uow, job_id)) == {other.id, second.id}
        with uow:
            superseded = uow.reviews.get(first.id)
            assert superseded.superseded_at == clock()
            assert [grade.grade for grade in uow.reviews.grades(first.id)] == ["unacceptable"]

    def test_another_job_of_the_same_reader_supersedes_nothing(
        self, uow: UnitOfWork, job_id: UUID
    ) -> None:
        first = add_review(uow, job_id, {"Bladder": "a"})
        add_review(uow, add_finished_job(uow).id, {"Bladder": "a"})

        assert current_of(uow, job_id) == [first.id]

    def test_of_many_at_the_same_time_one_counts(
        self, unit_of_work: Callable[[], UnitOfWork], uow: UnitOfWork, job_id: UUID
    ) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: add_review(unit_of_work(), job_id, {"Bladder": "a"}), range(8)))

        assert len(current_of(uow, job_id)) == 1


class TestAgreement:
    def test_common_slices_are_counted_with_the_first_name_first(
        self, uow: UnitOfWork, engine: sa.Engine, job_id: UUID
    ) -> None:
        bert = add_review(uow, job_id, {"Bladder": "aamu", "Rectum": "a"}, reviewer="bert")
        anna = add_review(uow, job_id, {"Bladder": "aaa", "CTV-N": "a"}, reviewer="anna")

        assert agreement(engine) == {
            (anna.id, bert.id, "Bladder", "acceptable", "acceptable"): 2,
            (anna.id, bert.id, "Bladder", "acceptable", "minor_revision"): 1,
        }

    def test_a_superseded_review_is_compared_with_no_later_one(
        self, uow: UnitOfWork, engine: sa.Engine, job_id: UUID
    ) -> None:
        add_review(uow, job_id, {"Bladder": "u"}, reviewer="anna")
        anna = add_review(uow, job_id, {"Bladder": "m"}, reviewer="anna")
        bert = add_review(uow, job_id, {"Bladder": "a"}, reviewer="bert")

        assert agreement(engine) == {
            (anna.id, bert.id, "Bladder", "minor_revision", "acceptable"): 1
        }


class TestReading:
    def test_an_unknown_id_is_not_found(self, uow: UnitOfWork) -> None:
        with uow, pytest.raises(ReviewNotFoundError):
            uow.reviews.get(uuid4())

    def test_pages_are_newest_first(self, uow: UnitOfWork, job_id: UUID, clock: Clock) -> None:
        made: list[Review] = []
        for reviewer in ("a", "b", "c"):
            made.append(add_review(uow, job_id, {"Bladder": "a"}, reviewer=reviewer))
            clock.advance(seconds=1)
        with uow:
            page = uow.reviews.page(job_id, 2)
        assert [review.id for review in page] == [made[2].id, made[1].id]
