import errno
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ml.data.importing import run as importing
from services.core.lifecycle import CaseStatus, JobState
from services.core.queue import TaskName
from services.core.storage import FilesystemStorage, StoredKind
from services.core.unit_of_work import UnitOfWork
from services.worker import indexing
from services.worker.context import WorkerContext
from services.worker.lease import Lease
from tests.factories.datasets import (
    add_dataset,
    add_folder,
    cases_of,
    queue_version,
    version_of,
)
from tests.factories.imports import box_masks, write_dicom_case
from tests.factories.workers import TIMES, run_task
from tests.fakes import Clock, FullStorage
from tests.waiting import wait_until

INDEX = TaskName.DATASET_VERSION_INDEX
GERMAN = {"Bladder": "Harnblase innen"}
"""A name that no synonym list knows."""


class TestRefusals:
    def test_a_version_without_any_case_fails_and_keeps_its_rows(
        self,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        mount: Path,
        index: Callable[..., UUID],
        tmp_path: Path,
    ) -> None:
        write_dicom_case(mount / "p1", number=1, masks=box_masks(GERMAN))
        (mount / "p2").mkdir()
        write_dicom_case(mount / "p2", number=2)
        (mount / "p2" / "rs.2.dcm").unlink()
        dataset_id = add_dataset(uow)
        add_folder(uow, dataset_id)

        version_id = index(dataset_id)

        version = version_of(uow, version_id)
        assert (version.state, version.error_code) == (JobState.FAILED, "no_case_imported")
        assert version.error_context == {"refused_count": 2}
        assert (version.case_count, version.refused_count) == (0, 2)
        assert [(c.name, c.code) for c in cases_of(uow, version_id)] == [
            ("p1/rs.1.dcm", "structure_missing"),
            ("p2/ct/CT.1.0000.dcm", "missing_labels"),
        ]
        assert storage.list_stored(StoredKind.DATASETS, 0) == []
        assert not list((tmp_path / "storage" / "workspaces").iterdir())

    def test_an_empty_folder_fails_too(
        self, uow: UnitOfWork, mount: Path, index: Callable[..., UUID]
    ) -> None:
        mount.mkdir()
        dataset_id = add_dataset(uow)
        add_folder(uow, dataset_id)

        version = version_of(uow, index(dataset_id))

        assert (version.error_code, version.error_context) == (
            "no_case_imported", {"refused_count": 0},
        )  # fmt: skip

    def test_what_a_request_allows_is_accepted(
        self, uow: UnitOfWork, mount: Path, index: Callable[..., UUID]
    ) -> None:
        masks = box_masks()
        del masks["Rectum"]
        masks["CTV-N"] |= masks["CTV-UV"]
        write_dicom_case(mount / "p1", number=1, masks=masks)
        dataset_id = add_dataset(uow)
        add_folder(uow, dataset_id)

        strict, missing, both = (
            cases_of(uow, index(dataset_id, **allowed))[0]
            for allowed in (
                {},
                {"allow_missing": True},
                {"allow_missing": True, "allow_overlap": True},
            )
        )

        assert (strict.code, missing.code) == ("structure_missing", "overlapping_structures")
        assert both.status is CaseStatus.IMPORTED
        assert {note["code"] for note in both.notes} == {"structures_missing", "overlap_resolved"}

    def test_a_key_that_is_none_is_told(
        self,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        dataset_id: UUID,
        index: Callable[..., UUID],
    ) -> None:
        storage.pseudonym_key_path().parent.mkdir(parents=True)
        storage.pseudonym_key_path().write_text("secret")

        version = version_of(uow, index(dataset_id))

        assert version.error_code == "pseudonym_key_invalid"
        assert "secret" not in (version.error_detail or "")

    @pytest.mark.parametrize("told_by", ["note", "rows"])
    def test_no_other_key_takes_the_place_of_a_lost_one(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        dataset_id: UUID,
        index: Callable[..., UUID],
        told_by: str,
    ) -> None:
        assert version_of(uow, index(dataset_id)).state is JobState.SUCCEEDED
        key = worker.storage.pseudonym_key_path()
        key.unlink()
        if told_by == "rows":
            worker.storage.key_note_path(key).unlink()  # as a restore leaves it

        version = version_of(uow, index(dataset_id))

        assert version.state is JobState.QUEUED  # it may be mounted meanwhile
        for _ in range(version.max_attempts - 1):
            run_task(worker, INDEX, version.id)
        version = version_of(uow, version.id)
        assert (version.state, version.error_code) == (JobState.FAILED, "private_key_missing")
        assert not key.exists()

    def test_another_key_than_before_is_told(
        self,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        dataset_id: UUID,
        index: Callable[..., UUID],
    ) -> None:
        index(dataset_id)
        storage.pseudonym_key_path().write_text("ab" * 32)

        version = version_of(uow, index(dataset_id))

        assert (version.state, version.error_code) == (JobState.FAILED, "private_key_changed")

    def test_a_failing_disk_has_the_index_made_again_with_every_case(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        dataset_id: UUID,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        read, errors = importing.read_dicom_case, [OSError(errno.EIO, "Input/output error")]

        def read_or_fail(candidate: Any, settings: Any) -> Any:
            if "p2" in candidate.name and errors:
                raise errors.pop()
            return read(candidate, settings)

        monkeypatch.setattr(importing, "read_dicom_case", read_or_fail)
        version_id = queue_version(uow, dataset_id)

        run_task(worker, INDEX, version_id)
        assert version_of(uow, version_id).state is JobState.QUEUED
        run_task(worker, INDEX, version_id)

        version = version_of(uow, version_id)
        assert (version.state, version.case_count) == (JobState.SUCCEEDED, 4)

    def test_a_full_storage_has_the_index_made_again_until_it_fails(
        self, worker: WorkerContext, uow: UnitOfWork, dataset_id: UUID, tmp_path: Path
    ) -> None:
        version_id = queue_version(uow, dataset_id)

        full = replace(worker, storage=FullStorage(tmp_path / "storage"))

        run_task(full, INDEX, version_id)

        version = version_of(uow, version_id)
        assert version.state is JobState.QUEUED
        for _ in range(version.max_attempts - 1):
            run_task(full, INDEX, version_id)
        version = version_of(uow, version_id)
        assert (version.state, version.error_code) == (JobState.FAILED, "storage_unavailable")
        assert cases_of(uow, version_id) == []


class TestInterruption:
    def test_a_killed_start_is_gone_on_with(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        clock: Clock,
        dataset_id: UUID,
        readings: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        version_id = queue_version(uow, dataset_id)

        def die_after_two(folder: Path, outcome: importing.CaseOutcome) -> None:
            note(folder, outcome)
            if len(readings) == 2:
                raise KeyboardInterrupt

        note = indexing._note_names
        with monkeypatch.context() as patch:
            patch.setattr(indexing, "_note_names", die_after_two)
            with pytest.raises(KeyboardInterrupt):
                run_task(worker, INDEX, version_id)
        assert version_of(uow, version_id).state is JobState.RUNNING
        clock.advance(seconds=3600)
        with uow:
            uow.leases.reap(INDEX)
            uow.commit()

        run_task(worker, INDEX, version_id)

        version = version_of(uow, version_id)
        assert (version.state, version.attempt) == (JobState.SUCCEEDED, 2)
        assert len(readings) == len(set(readings)) == 4
        assert {case.status for case in cases_of(uow, version_id)} == {CaseStatus.IMPORTED}

    def test_a_start_that_dies_before_its_commit_is_gone_on_with(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        clock: Clock,
        dataset_id: UUID,
        readings: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        version_id = queue_version(uow, dataset_id)

        def publish_and_die(*arguments: Any) -> None:
            publish(*arguments)
            raise KeyboardInterrupt

        publish = indexing._publish
        with monkeypatch.context() as patch:
            patch.setattr(indexing, "_publish", publish_and_die)
            with pytest.raises(KeyboardInterrupt):
                run_task(worker, INDEX, version_id)
        clock.advance(seconds=3600)
        with uow:
            uow.leases.reap(INDEX)
            uow.commit()

        run_task(worker, INDEX, version_id)

        assert version_of(uow, version_id).state is JobState.SUCCEEDED
        assert len(readings) == 4

    def test_a_cancel_stops_before_the_next_case(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        dataset_id: UUID,
        readings: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        version_id = queue_version(uow, dataset_id)
        note, beat = indexing._note_names, Lease._beat
        learned = threading.Event()

        def listen(lease: Lease) -> None:
            beat(lease)
            if not lease.is_wanted:
                learned.set()

        def cancel(folder: Path, outcome: importing.CaseOutcome) -> None:
            note(folder, outcome)
            with worker.unit_of_work() as other:
                other.dataset_versions.request_cancel(version_id)
                other.commit()
            wait_until(learned.is_set)

        monkeypatch.setattr(Lease, "_beat", listen)
        monkeypatch.setattr(indexing, "_note_names", cancel)

        run_task(worker, INDEX, version_id)

        assert version_of(uow, version_id).state is JobState.CANCELLED
        assert len(readings) < 4
        assert storage.list_stored(StoredKind.DATASETS, 0) == []

    def test_a_start_that_lost_its_lease_writes_no_rows(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        clock: Clock,
        mount: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        write_dicom_case(mount / "p1", number=1, masks=box_masks(GERMAN))
        dataset_id = add_dataset(uow)
        add_folder(uow, dataset_id)
        version_id = queue_version(uow, dataset_id)
        rows = indexing.case_rows

        def lose(*arguments: Any):
            clock.advance(seconds=TIMES.lease_seconds + 1)
            with worker.unit_of_work() as other:
                other.leases.reap(INDEX)
                other.leases.claim(INDEX, version_id, owner="another", seconds=60)
                other.commit()
            return rows(*arguments)

        monkeypatch.setattr(indexing, "case_rows", lose)
        deaf = replace(worker, times=replace(worker.times, heartbeat_seconds=3600))

        run_task(deaf, INDEX, version_id)

        assert version_of(uow, version_id).state is JobState.RUNNING
        assert cases_of(uow, version_id) == []
