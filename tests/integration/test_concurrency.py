import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from services.core.database import create_sessions, utc_now
from services.core.migrations import upgrade_database
from services.core.queue import TaskName
from services.core.unit_of_work import UnitOfWork
from tests.factories.engines import create_patient_engine
from tests.factories.rows import add_job, make_series
from tests.fakes import FakeJobQueue

THREADS = 6
A_DAY = dt.timedelta(days=1)


@pytest.fixture
def unit_of_work(database_url: str) -> Iterator[Callable[[], UnitOfWork]]:
    engine = create_patient_engine(database_url)
    upgrade_database(engine)
    sessions = create_sessions(engine)
    yield lambda: UnitOfWork(sessions, FakeJobQueue())
    engine.dispose()


def at_once(action: Callable[[int], object], times: int) -> list:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(action, range(times)))


def test_every_job_is_claimed_once(unit_of_work: Callable[[], UnitOfWork]) -> None:
    jobs = [add_job(unit_of_work()).id for _ in range(10)]

    def claim_all(worker: int) -> list[UUID]:
        claimed = []
        for job_id in jobs if worker % 2 else reversed(jobs):
            with unit_of_work() as uow:
                if (
                    uow.leases.claim(
                        TaskName.CONTOUR_JOB_RUN, job_id, owner=str(worker), seconds=60
                    )
                    is not None
                ):
                    claimed.append(job_id)
                uow.commit()
        return claimed

    claimed = [job_id for jobs in at_once(claim_all, THREADS) for job_id in jobs]

    assert sorted(claimed) == sorted(jobs)


def test_the_same_series_posted_at_once_is_one_row(
    unit_of_work: Callable[[], UnitOfWork],
) -> None:
    def post(_: int) -> tuple[UUID, bool]:
        with unit_of_work() as uow:
            series, is_new = uow.series.get_or_create(make_series(content_sha256="c" * 64))
            uow.commit()
        return series.id, is_new

    posted = at_once(post, 2 * THREADS)

    assert len({series_id for series_id, _ in posted}) == 1
    assert sum(is_new for _, is_new in posted) == 1


def test_the_same_key_posted_at_once_is_one_resource(
    unit_of_work: Callable[[], UnitOfWork],
) -> None:
    def post(_: int) -> UUID:
        with unit_of_work() as uow:
            resource_id = uow.idempotency.remember(
                route="r", key="k", request_sha256="a" * 64, resource_id=uuid4()
            )
            uow.commit()
        return resource_id

    assert len(set(at_once(post, 2 * THREADS))) == 1


def test_a_series_is_not_purged_under_a_new_job(
    unit_of_work: Callable[[], UnitOfWork],
) -> None:
    with unit_of_work() as uow:
        series, _ = uow.series.get_or_create(make_series())
        uow.commit()

    def purge_or_use(turn: int) -> None:
        with unit_of_work() as uow:
            if turn % 2:
                uow.series.purge(series.id, utc_now() + A_DAY)
            elif uow.series.get_locked(series.id).purged_at is None:
                uow.contour_jobs.add(series.id, correlation_id="x", max_attempts=1)
            uow.commit()

    at_once(purge_or_use, 2 * THREADS)

    with unit_of_work() as uow:
        is_purged = uow.series.get(series.id).purged_at is not None
        has_jobs = bool(uow.contour_jobs.page(10, series_id=series.id))
    assert is_purged is not has_jobs


def test_a_series_posted_while_it_is_purged_is_a_new_one(
    unit_of_work: Callable[[], UnitOfWork],
) -> None:
    with unit_of_work() as uow:
        series, _ = uow.series.get_or_create(make_series(content_sha256="c" * 64))
        uow.commit()
    is_held = threading.Barrier(THREADS)

    def purge_or_post(turn: int) -> tuple[UUID, bool] | None:
        if turn:
            is_held.wait()
        with unit_of_work() as uow:
            if turn == 0:
                assert uow.series.purge(series.id, utc_now() + A_DAY)
                is_held.wait()
                time.sleep(0.2)  # those who post come to wait for the row
                uow.erasure.series(series.id, with_sources=False)
                uow.commit()
                return None
            posted, is_new = uow.series.get_or_create(make_series(content_sha256="c" * 64))
            uow.commit()
        return posted.id, is_new

    posted = [found for found in at_once(purge_or_post, THREADS) if found is not None]

    assert len({series_id for series_id, _ in posted}) == 1
    assert posted[0][0] != series.id
    assert sum(is_new for _, is_new in posted) == 1
