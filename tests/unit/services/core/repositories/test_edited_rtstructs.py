"""Edited RTSTRUCTs: one row a file, kept for their time with all that they need."""

import datetime as dt
from uuid import UUID, uuid4

import pytest

from services.core.errors import EditedRtstructNotFoundError
from services.core.lifecycle import DatasetSourceKind, JobState
from services.core.queue import TaskName
from services.core.repositories.edited_rtstructs import AddedEdit, NewEdit
from services.core.tables.datasets import Dataset, DatasetSource, DatasetVersion
from services.core.unit_of_work import UnitOfWork
from tests.factories.reviews import add_edit, add_finished_job
from tests.fakes import Clock

YEAR = dt.timedelta(days=365)


@pytest.fixture
def job_id(uow: UnitOfWork) -> UUID:
    return add_finished_job(uow).id


def add(uow: UnitOfWork, job_id: UUID, sha256: str = "a" * 64) -> AddedEdit:
    new = NewEdit(
        job_id=job_id, review_id=None, reviewer="anna", content_sha256=sha256, byte_count=1
    )
    with uow:
        added = uow.edited_rtstructs.add(new, correlation_id="request-2", max_attempts=3)
        uow.commit()
    return added


def purge(uow: UnitOfWork, edited_id: UUID) -> bool:
    with uow:
        purged = uow.edited_rtstructs.purge(edited_id)
        uow.commit()
    return purged


def end(uow: UnitOfWork, edited_id: UUID, code: str | None = None) -> None:
    with uow:
        claim = uow.leases.claim(
            TaskName.EDITED_RTSTRUCT_COMPARE, edited_id, owner="worker", seconds=60
        )
        assert claim is not None
        if code is None:
            uow.leases.succeed(claim, {"scores": {"structures": {}, "warnings": []}})
        else:
            uow.leases.fail(claim, code=code, detail="it did", context={})
        uow.commit()


class TestAdd:
    def test_the_same_file_is_the_same_row(self, uow: UnitOfWork, job_id: UUID) -> None:
        first, again = add(uow, job_id), add(uow, job_id)
        other = add(uow, add_finished_job(uow).id)

        assert (first.needs_file, first.needs_work) == (True, True)
        assert (again.needs_file, again.needs_work) == (False, False)
        assert again.row.id == first.row.id != other.row.id

    def test_one_that_failed_is_queued_again(self, uow: UnitOfWork, job_id: UUID) -> None:
        first = add(uow, job_id)
        end(uow, first.row.id, "time_limit")

        again = add(uow, job_id)

        assert (again.needs_file, again.needs_work) == (False, True)
        row = again.row
        assert (row.state, row.attempt, row.error_code) == (JobState.QUEUED, 0, None)
        end(uow, first.row.id)
        with uow:
            assert uow.edited_rtstructs.get(first.row.id).state is JobState.SUCCEEDED

    def test_one_that_was_erased_is_another_one(self, uow: UnitOfWork, job_id: UUID) -> None:
        first = add(uow, job_id)
        end(uow, first.row.id)
        with uow:
            uow.erasure.edits([first.row.id], with_sources=False)
            uow.commit()

        again = add(uow, job_id)

        assert (again.needs_file, again.needs_work) == (True, True)
        assert again.row.id != first.row.id


class TestReading:
    def test_an_unknown_id_is_not_found(self, uow: UnitOfWork) -> None:
        with uow, pytest.raises(EditedRtstructNotFoundError):
            uow.edited_rtstructs.get(uuid4())

    def test_pages_are_of_a_state_or_a_job(self, uow: UnitOfWork, job_id: UUID) -> None:
        queued, done = add_edit(uow, job_id), add_edit(uow, job_id, {})
        other = add_edit(uow, add_finished_job(uow).id)
        with uow:
            of_job = uow.edited_rtstructs.page(9, job_id=job_id)
            in_state = uow.edited_rtstructs.page(9, state=JobState.SUCCEEDED)
            positions = uow.edited_rtstructs.queue_positions([queued, done, other])
        assert {row.id for row in of_job} == {queued.id, done.id}
        assert [row.id for row in in_state] == [done.id]
        assert set(positions) == {queued.id, other.id}


class TestPurge:
    def test_only_compared_ones_of_age_are_due(
        self, uow: UnitOfWork, job_id: UUID, clock: Clock
    ) -> None:
        add_edit(uow, job_id)
        done = add_edit(uow, job_id, {})
        with uow:
            assert uow.edited_rtstructs.due_for_purge(clock(), 9) == []
            assert uow.edited_rtstructs.due_for_purge(clock() + YEAR, 9) == [done.id]
            assert uow.edited_rtstructs.stored_among([done.id, uuid4()]) == {done.id}
        assert purge(uow, done.id)
        assert not purge(uow, done.id)
        with uow:
            assert uow.edited_rtstructs.due_for_purge(clock() + YEAR, 9) == []
            assert uow.edited_rtstructs.stored_among([done.id]) == set()

    def test_one_that_is_not_compared_stays(self, uow: UnitOfWork, job_id: UUID) -> None:
        assert not purge(uow, add_edit(uow, job_id).id)

    @pytest.mark.parametrize(
        ("state", "goes"),
        [(JobState.QUEUED, False), (JobState.RUNNING, False), (JobState.SUCCEEDED, True)],
    )
    def test_one_that_a_dataset_version_is_about_to_read_stays(
        self, uow: UnitOfWork, job_id: UUID, clock: Clock, state: JobState, goes: bool
    ) -> None:
        edited = add_edit(uow, job_id, {})
        add_dataset(uow, edited.id, state, clock())

        with uow:
            assert (uow.edited_rtstructs.find_reader([edited.id]) is None) is goes
        assert purge(uow, edited.id) is goes


class TestWhatItKeeps:
    def test_the_result_of_its_job_stays_as_long(
        self, uow: UnitOfWork, job_id: UUID, clock: Clock
    ) -> None:
        edited = add_edit(uow, job_id, {})
        with uow:
            series_id = uow.contour_jobs.get(job_id).series_id
            assert uow.contour_jobs.due_for_purge(clock() + YEAR, 9) == []
            assert not uow.contour_jobs.purge(job_id)
            assert uow.series.due_for_purge(clock() + YEAR, 9) == []
            assert not uow.series.purge(series_id, clock() + YEAR)
            assert [e.id for e in uow.edited_rtstructs.of_series(series_id)] == [edited.id]

        purge(uow, edited.id)

        with uow:
            assert uow.contour_jobs.due_for_purge(clock() + YEAR, 9) == [job_id]
            assert uow.contour_jobs.purge(job_id)
            assert uow.series.purge(series_id, clock() + YEAR)


def add_dataset(uow: UnitOfWork, edited_id: UUID, state: JobState, now: dt.datetime) -> None:
    """A dataset with the edit as a source, and a version of it."""
    dataset_id = uuid4()
    rows = [
        DatasetSource(
            dataset_id=dataset_id,
            kind=DatasetSourceKind.EDITED_RTSTRUCT,
            content=str(edited_id),
            created_at=now,
        ),
        DatasetVersion(
            dataset_id=dataset_id,
            number=1,
            request={},
            structure_set="cervix",
            state=state,
            correlation_id="request-1",
            max_attempts=3,
            created_at=now,
        ),
    ]
    with uow:
        session = uow._session
        session.add(Dataset(id=dataset_id, name="edits", mapping={}, created_at=now))
        session.flush()
        session.add_all(rows)
        uow.commit()
