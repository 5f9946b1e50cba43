import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np

from ml.data.dataset import open_dataset
from ml.data.version import describe_version
from services.core.lifecycle import CasePart, CaseStatus, JobState
from services.core.queue import TaskName
from services.core.storage import FilesystemStorage, StoredKind
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from tests.factories.datasets import (
    add_dataset,
    add_upload,
    cases_of,
    tree_sha256,
    version_of,
)
from tests.factories.imports import box_masks, write_dicom_case
from tests.factories.workers import run_task

INDEX = TaskName.DATASET_VERSION_INDEX
GERMAN = {"Bladder": "Harnblase innen"}
"""A name that no synonym list knows."""


class TestSuccess:
    def test_cases_are_rows_and_a_folder_with_a_split(
        self,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        dataset_id: UUID,
        index: Callable[..., UUID],
    ) -> None:
        version_id = index(dataset_id)

        version, cases = version_of(uow, version_id), cases_of(uow, version_id)
        dataset = open_dataset(storage.folder(StoredKind.DATASETS, version_id))
        assert (version.state, version.case_count, version.refused_count) == (
            JobState.SUCCEEDED, 4, 0,
        )  # fmt: skip
        assert [case.name for case in cases] == [f"clinic/p{n}/rs.{n}.dcm" for n in (1, 2, 3, 4)]
        assert {case.status for case in cases} == {CaseStatus.IMPORTED}
        assert Counter(case.part for case in cases) == {
            CasePart.TRAINING: 2, CasePart.VALIDATION: 1, CasePart.TEST: 1,
        }  # fmt: skip
        for facts in dataset.facts():
            (case,) = [case for case in cases if case.case_id == facts.case_id]
            assert case.patient == facts.patient_id
            assert case.patient in getattr(dataset.split, str(case.part))
            assert case.facts["slices"] == 6
            assert case.facts["structures"]["Bladder"]["slices"] == 3

    def test_the_facts_are_those_of_the_folder(
        self,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        dataset_id: UUID,
        index: Callable[..., UUID],
    ) -> None:
        version_id = index(dataset_id)

        version = version_of(uow, version_id)
        found = describe_version(open_dataset(storage.folder(StoredKind.DATASETS, version_id)))
        assert version.content_sha256 == found.content_sha256
        assert version.facts is not None
        assert version.facts["parts"]["training"]["cases"] == 2
        assert version.facts["lacking"] == []
        assert "cases" not in version.facts

    def test_nothing_is_left_behind_and_the_key_stays(
        self, dataset_id: UUID, index: Callable[..., UUID], tmp_path: Path
    ) -> None:
        version_id = index(dataset_id)

        root = tmp_path / "storage"
        assert not list((root / "incoming").iterdir())
        assert not list((root / "workspaces").iterdir())
        assert [path.name for path in (root / "datasets").iterdir()] == [str(version_id)]
        assert (root / "private" / "pseudonym.key").stat().st_mode & 0o077 == 0

    def test_mounted_folders_are_not_touched(
        self, mount: Path, dataset_id: UUID, index: Callable[..., UUID]
    ) -> None:
        before = tree_sha256(mount)

        index(dataset_id)

        assert tree_sha256(mount) == before

    def test_no_identifier_of_a_patient_reaches_the_folder(
        self, storage: FilesystemStorage, dataset_id: UUID, index: Callable[..., UUID]
    ) -> None:
        version_id = index(dataset_id)

        for path in storage.folder(StoredKind.DATASETS, version_id).rglob("*.json"):
            assert "MRN" not in path.read_text()
            assert "2.25.77" not in path.read_text()
            assert "clinic" not in path.read_text()

    def test_a_second_message_changes_nothing(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        dataset_id: UUID,
        index: Callable[..., UUID],
    ) -> None:
        version_id = index(dataset_id)
        finished_at = version_of(uow, version_id).finished_at

        run_task(worker, INDEX, version_id)

        assert version_of(uow, version_id).finished_at == finished_at


class TestNextVersion:
    def test_unchanged_cases_are_not_read_again(
        self, uow: UnitOfWork, dataset_id: UUID, index: Callable[..., UUID], readings: list[str]
    ) -> None:
        first = index(dataset_id)
        assert len(readings) == 4

        second = index(dataset_id)

        assert len(readings) == 4
        assert {case.status for case in cases_of(uow, second)} == {CaseStatus.ALREADY_IMPORTED}
        assert version_of(uow, second).content_sha256 == version_of(uow, first).content_sha256

    def test_equal_content_is_equal_wherever_it_comes_from(
        self,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        mount: Path,
        dataset_id: UUID,
        index: Callable[..., UUID],
    ) -> None:
        first = index(dataset_id)
        other = add_dataset(uow, "Sent")
        files = {path.relative_to(mount).as_posix(): path for path in mount.rglob("*.dcm")}
        add_upload(uow, storage, other, files)

        sent = index(other)

        assert version_of(uow, sent).content_sha256 == version_of(uow, first).content_sha256
        assert {case.name for case in cases_of(uow, sent)} == {
            case.name for case in cases_of(uow, first)
        }

    def test_the_files_of_the_version_before_stay_as_they_are(
        self,
        storage: FilesystemStorage,
        mount: Path,
        dataset_id: UUID,
        index: Callable[..., UUID],
    ) -> None:
        folder = storage.folder(StoredKind.DATASETS, index(dataset_id))
        before = tree_sha256(folder)
        shutil.rmtree(mount / "clinic" / "p1")
        changed = box_masks()
        changed["Bladder"][2] = False
        shutil.rmtree(mount / "clinic" / "p2")
        write_dicom_case(mount / "clinic" / "p2", number=2, masks=changed)

        second = storage.folder(StoredKind.DATASETS, index(dataset_id))

        assert tree_sha256(folder) == before
        assert len(open_dataset(second).facts()) == 3
        assert tree_sha256(second) != before

    def test_patients_stay_in_their_part(
        self, uow: UnitOfWork, mount: Path, dataset_id: UUID, index: Callable[..., UUID]
    ) -> None:
        first = {case.patient: case.part for case in cases_of(uow, index(dataset_id))}
        shutil.move(mount / "clinic" / "p1", mount / "away")
        for number in range(5, 9):
            write_dicom_case(mount / "clinic" / f"p{number}", number=number)
        index(dataset_id, split={"seed": 5, "proportions": [2, 1, 1], "keep_previous": True})
        shutil.move(mount / "away", mount / "clinic" / "p1")

        third = index(
            dataset_id, split={"seed": 6, "proportions": [2, 1, 1], "keep_previous": True}
        )

        parts = {case.patient: case.part for case in cases_of(uow, third)}
        assert len(parts) == 8
        assert first.items() <= parts.items()

    def test_patients_are_dealt_anew_on_request(
        self, uow: UnitOfWork, dataset_id: UUID, index: Callable[..., UUID]
    ) -> None:
        first = {case.patient: case.part for case in cases_of(uow, index(dataset_id))}

        second = index(
            dataset_id, split={"seed": 0, "proportions": [0, 0, 1], "keep_previous": False}
        )

        parts = {case.patient: case.part for case in cases_of(uow, second)}
        assert parts == dict.fromkeys(first, CasePart.TEST)

    def test_another_mapping_reads_the_cases_again(
        self,
        uow: UnitOfWork,
        mount: Path,
        dataset_id: UUID,
        index: Callable[..., UUID],
        readings: list[str],
    ) -> None:
        write_dicom_case(mount / "clinic" / "p5", number=5, masks=box_masks(GERMAN))
        first = index(dataset_id)
        mapping = {"structures": {"Bladder": ["Bladder", *GERMAN.values()]}}

        second = index(dataset_id, mapping=mapping)

        (refused,) = [c for c in cases_of(uow, first) if c.status is CaseStatus.REFUSED]
        assert refused.code == "structure_missing"
        assert refused.facts["missing"] == ["Bladder"]
        assert (version_of(uow, first).case_count, version_of(uow, first).refused_count) == (4, 1)
        assert version_of(uow, second).case_count == 5
        assert {case.status for case in cases_of(uow, second)} == {CaseStatus.IMPORTED}
        assert len(readings) == 10

    def test_names_without_a_structure_are_remembered(
        self, uow: UnitOfWork, mount: Path, dataset_id: UUID, index: Callable[..., UUID]
    ) -> None:
        masks = box_masks() | {"PTV": np.ones((6, 24, 20), np.bool_)}
        write_dicom_case(mount / "clinic" / "p5", number=5, masks=masks)
        for _ in range(3):
            cases = cases_of(uow, index(dataset_id))
            assert [case.unmatched_names for case in cases] == [[], [], [], [], ["PTV"]]

    def test_a_version_whose_predecessor_is_gone_reads_all(
        self,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        dataset_id: UUID,
        index: Callable[..., UUID],
        readings: list[str],
    ) -> None:
        first = index(dataset_id)
        storage.delete(StoredKind.DATASETS, first)

        second = index(dataset_id)

        assert len(readings) == 8
        assert version_of(uow, second).content_sha256 == version_of(uow, first).content_sha256
