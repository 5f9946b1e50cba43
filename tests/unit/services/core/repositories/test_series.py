import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from services.core.errors import SeriesNotFoundError
from services.core.repositories.paging import PageCursor
from services.core.tables.contouring import Series
from services.core.unit_of_work import UnitOfWork
from tests.factories.rows import add_job, make_series
from tests.fakes import Clock


def add_series(uow: UnitOfWork) -> Series:
    with uow:
        series, _ = uow.series.get_or_create(make_series())
        uow.commit()
    return series


class TestGetOrCreate:
    def test_new_content_is_a_new_row(self, uow: UnitOfWork, clock: Clock) -> None:
        new = make_series()
        with uow:
            series, is_new = uow.series.get_or_create(new)
            uow.commit()

        assert is_new
        assert series.created_at == clock()
        with uow:
            assert uow.series.find_by_content(new.content_sha256) == uow.series.get(series.id)

    def test_the_same_content_is_the_same_row(self, uow: UnitOfWork) -> None:
        first = add_series(uow)
        with uow:
            second, is_new = uow.series.get_or_create(
                make_series(content_sha256=first.content_sha256)
            )

        assert second.id == first.id
        assert not is_new

    def test_erased_content_is_another_series(self, uow: UnitOfWork) -> None:
        first = add_series(uow)
        content = first.content_sha256
        with uow:
            uow.erasure.series(first.id, with_sources=False)
            uow.commit()
        with uow:
            second, is_new = uow.series.get_or_create(make_series(content_sha256=content))
            uow.commit()

        assert second.id != first.id
        assert is_new

    def test_one_of_many_at_the_same_time_is_first(
        self, unit_of_work: Callable[[], UnitOfWork]
    ) -> None:
        content = "c" * 64

        def post(_: int) -> tuple[str, bool]:
            uow = unit_of_work()
            with uow:
                series, is_new = uow.series.get_or_create(make_series(content_sha256=content))
                uow.commit()
            return str(series.id), is_new

        with ThreadPoolExecutor(4) as pool:
            posted = list(pool.map(post, range(8)))

        assert len({series_id for series_id, _ in posted}) == 1
        assert sum(is_new for _, is_new in posted) == 1


class TestGet:
    def test_an_unknown_id_is_not_found(self, uow: UnitOfWork) -> None:
        with uow, pytest.raises(SeriesNotFoundError):
            uow.series.get(uuid4())
        with uow, pytest.raises(SeriesNotFoundError):
            uow.series.get_locked(uuid4())


class TestPage:
    def test_pages_are_newest_first_and_miss_nothing(self, uow: UnitOfWork, clock: Clock) -> None:
        posted = []
        for index in range(5):
            posted.append(add_series(uow))
            clock.advance(seconds=index % 2)  # some are made at the same moment

        listed: list[Series] = []
        cursor = None
        with uow:
            while page := uow.series.page(2, cursor):
                listed += page
                cursor = PageCursor(created_at=page[-1].created_at, id=page[-1].id)

        assert {s.id for s in listed} == {s.id for s in posted}
        assert len(listed) == 5
        moments = [s.created_at for s in listed]
        assert moments == sorted(moments, reverse=True)


class TestPurge:
    def test_a_series_a_job_needs_stays(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_job(uow)
        with uow:
            assert uow.series.due_for_purge(clock() + dt.timedelta(days=1), 10) == []
            assert not uow.series.purge(job.series_id, clock() + dt.timedelta(days=1))

    def test_an_old_series_without_jobs_is_due(self, uow: UnitOfWork, clock: Clock) -> None:
        series = add_series(uow)
        clock.advance(days=1)
        with uow:
            assert uow.series.due_for_purge(clock(), 10) == [series.id]
            assert uow.series.stored_among([series.id, uuid4()]) == {series.id}
            assert uow.series.purge(series.id, clock())
            uow.commit()
        with uow:
            assert uow.series.due_for_purge(clock(), 10) == []
            assert uow.series.stored_among([series.id]) == set()
            assert not uow.series.purge(series.id, clock())

    def test_one_that_is_posted_again_is_kept_from_then_on(
        self, uow: UnitOfWork, clock: Clock
    ) -> None:
        posted = make_series()
        with uow:
            uow.series.get_or_create(posted)
            uow.commit()
        clock.advance(days=2)
        posted_again = clock()
        with uow:
            due_before = uow.series.unused(posted_again, 10)
            uow.series.get_or_create(make_series(content_sha256=posted.content_sha256))
            uow.commit()
        assert due_before == [posted.id]
        with uow:
            # a pass that found it due before it was posted again leaves it
            assert not uow.series.purge(posted.id, posted_again)
            assert uow.series.unused(posted_again, 10) == []
            assert uow.series.due_for_purge(posted_again, 10) == []
        clock.advance(seconds=1)
        with uow:
            assert uow.series.unused(clock(), 10) == [posted.id]
            assert uow.series.due_for_purge(clock(), 10) == [posted.id]
            assert uow.series.purge(posted.id, clock())
