from uuid import UUID

import pytest

from services.core.database import utc_now
from services.core.errors import DatasetExistsError, DatasetNotFoundError
from services.core.lifecycle import CasePart, DatasetSourceKind, JobState
from services.core.tables.datasets import DatasetCase, DatasetSource
from services.core.unit_of_work import UnitOfWork
from tests.factories.datasets import (
    add_dataset,
    add_edited_row,
    add_folder,
    add_source,
    end_version,
    queue_version,
)
from tests.factories.rows import add_job
from tests.fakes import Clock

EDITED = DatasetSourceKind.EDITED_RTSTRUCT


def add_cases(uow: UnitOfWork, version_id: UUID, **parts: CasePart | None) -> None:
    with uow:
        uow.dataset_cases.replace(
            version_id,
            [
                DatasetCase(
                    version_id=version_id,
                    position=position,
                    name=patient,
                    status="imported",
                    case_id=f"case-{patient}",
                    patient=patient,
                    part=part,
                    unmatched_names=[patient],
                )
                for position, (patient, part) in enumerate(parts.items())
            ],
        )
        uow.commit()


class TestDatasets:
    def test_a_name_that_is_taken_spoils_no_transaction(self, uow: UnitOfWork) -> None:
        first = add_dataset(uow, "a")
        with uow:
            with pytest.raises(DatasetExistsError):
                uow.datasets.add("a", {})
            second = uow.datasets.add("b", {})
            uow.commit()
        with uow:
            assert {row.id for row in uow.datasets.page(5)} == {first, second.id}

    def test_an_unknown_dataset_cannot_be_locked(self, uow: UnitOfWork) -> None:
        with uow, pytest.raises(DatasetNotFoundError):
            uow.datasets.get_locked(UUID(int=1))


class TestSources:
    def test_they_are_read_folders_first_and_edited_ones_as_they_were_sent(
        self, uow: UnitOfWork, clock: Clock
    ) -> None:
        dataset_id = add_dataset(uow)
        job = add_job(uow)
        with uow:
            sent_first = add_edited_row(uow, job.id)
            clock.advance(seconds=1)
            sent_last = add_edited_row(uow, job.id)
            uow.commit()
        wanted = [("b", 5), ("a", 6), ("u", 2), (str(sent_first), 4), (str(sent_last), 3)]
        kinds = {"a": DatasetSourceKind.FOLDER, "b": DatasetSourceKind.FOLDER}
        kinds["u"] = DatasetSourceKind.UPLOAD
        for content, _ in sorted(wanted, key=lambda pair: pair[1]):
            add_source(uow, dataset_id, kinds.get(content, EDITED), content)
            clock.advance(seconds=1)
        with uow:
            found = uow.datasets.sources_in_order(dataset_id)
        assert [source.content for source in found] == [content for content, _ in wanted]

    def test_those_added_at_one_moment_are_listed_last_first(self, uow: UnitOfWork) -> None:
        dataset_id = add_dataset(uow)
        names = [f"folder-{number}" for number in range(8)]
        with uow:
            uow.datasets.add_sources(
                [
                    DatasetSource(
                        dataset_id=dataset_id, kind=DatasetSourceKind.FOLDER, content=name
                    )
                    for name in names
                ]
            )
            uow.commit()
        with uow:
            found = uow.datasets.latest_sources(dataset_id, limit=8)
            in_order = uow.datasets.sources_in_order(dataset_id)
        assert [source.content for source in found] == names[::-1]
        assert [source.content for source in in_order] == names

    def test_edited_ones_to_add_are_compared_kept_and_new(
        self, uow: UnitOfWork, clock: Clock
    ) -> None:
        dataset_id, other = add_dataset(uow, "a"), add_dataset(uow, "b")
        job = add_job(uow)
        with uow:
            ids = []
            for state in (JobState.SUCCEEDED, JobState.SUCCEEDED, JobState.RUNNING):
                ids.append(add_edited_row(uow, job.id, state))
                clock.advance(seconds=1)
            add_edited_row(uow, job.id, purged_at=clock())
            uow.commit()
        add_source(uow, dataset_id, EDITED, str(ids[0]))
        with uow:
            assert [row.id for row in uow.datasets.edited_to_add(dataset_id)] == [ids[1]]
            assert [row.id for row in uow.datasets.edited_to_add(other)] == ids[:2]


class TestVersions:
    def test_numbers_count_in_a_dataset(self, uow: UnitOfWork) -> None:
        first, second = add_dataset(uow, "a"), add_dataset(uow, "b")
        ids = [queue_version(uow, dataset_id) for dataset_id in (first, first, second)]
        with uow:
            assert [uow.dataset_versions.get(one).number for one in ids] == [1, 2, 1]
            latest = uow.dataset_versions.latest_of([first, second])
        assert {one: version.number for one, version in latest.items()} == {first: 2, second: 1}

    def test_the_last_stored_one_succeeded_and_has_files(self, uow: UnitOfWork) -> None:
        dataset_id = add_dataset(uow)
        with uow:
            assert uow.dataset_versions.find_last_stored(dataset_id) is None
        first, second, third = (queue_version(uow, dataset_id) for _ in range(3))
        end_version(uow, first)
        end_version(uow, second)
        with uow:
            found = uow.dataset_versions.find_last_stored(dataset_id)
            assert found is not None
            assert found.id == second
            uow.erasure.versions([uow.dataset_versions.get_locked(second)])
            uow.commit()
        with uow:
            found = uow.dataset_versions.find_last_stored(dataset_id)
            assert found is not None
            assert found.id == first
            assert uow.dataset_versions.stored_among([first, second, third]) == {first}
            assert uow.dataset_versions.ended_among([first, second, third], utc_now()) == {
                first,
                second,
            }


class TestCases:
    def test_the_last_part_of_every_patient_is_known(self, uow: UnitOfWork) -> None:
        dataset_id = add_dataset(uow)
        first, second, third = (queue_version(uow, dataset_id) for _ in range(3))
        add_cases(uow, first, a=CasePart.TEST, b=CasePart.TEST, c=None)
        add_cases(uow, second, a=CasePart.TRAINING)
        add_cases(uow, third, b=CasePart.VALIDATION)
        end_version(uow, first)
        end_version(uow, second)
        with uow:
            assert uow.dataset_cases.last_parts(dataset_id) == {
                "a": CasePart.TRAINING, "b": CasePart.TEST,
            }  # fmt: skip

    def test_rows_of_an_earlier_start_are_replaced(self, uow: UnitOfWork) -> None:
        dataset_id = add_dataset(uow)
        add_folder(uow, dataset_id)
        version_id = queue_version(uow, dataset_id)
        add_cases(uow, version_id, a=None, b=None)
        add_cases(uow, version_id, c=None)
        with uow:
            assert [row.name for row in uow.dataset_cases.page(version_id, 5)] == ["c"]
            assert uow.dataset_cases.unmatched_names(version_id) == {"case-c": ["c"]}
