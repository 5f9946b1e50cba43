"""Datasets for tests: rows of sources and versions, and what a worker reads them from."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from services.api.datasets.case_files import check_cases
from services.api.uploads.limits import UploadLimits
from services.api.uploads.staging import StagingArea
from services.api.uploads.stream import Upload
from services.core.lifecycle import DatasetSourceKind, JobState
from services.core.queue import TaskName
from services.core.storage import (
    RTSTRUCT_NAME,
    FilesystemStorage,
    StoredKind,
    slice_name,
)
from services.core.tables.datasets import DatasetCase, DatasetSource, DatasetVersion
from services.core.tables.reviews import EditedRtstruct
from services.core.unit_of_work import UnitOfWork
from tests.factories.rows import make_series

OPTIONS: dict[str, Any] = {
    "split": {"seed": 0, "proportions": [2, 1, 1], "keep_previous": True},
    "allow_missing": False,
    "allow_overlap": False,
    "allow_orphans": False,
    "overlap_limit": 0.05,
}

LIMITS = UploadLimits(
    max_upload_bytes=1 << 30,
    max_unpacked_bytes=1 << 30,
    max_file_bytes=1 << 30,
    max_files=1000,
    max_compression_ratio=200,
)


def add_dataset(uow: UnitOfWork, name: str = "Cervix") -> UUID:
    with uow:
        dataset = uow.datasets.add(name, {})
        uow.commit()
    return dataset.id


def add_source(uow: UnitOfWork, dataset_id: UUID, kind: DatasetSourceKind, content: str) -> UUID:
    source = DatasetSource(id=uuid4(), dataset_id=dataset_id, kind=kind, content=content)
    with uow:
        uow.datasets.add_sources([source])
        uow.commit()
    return source.id


def add_folder(uow: UnitOfWork, dataset_id: UUID, folder: str = ".") -> UUID:
    return add_source(uow, dataset_id, DatasetSourceKind.FOLDER, folder)


def add_upload(
    uow: UnitOfWork, storage: FilesystemStorage, dataset_id: UUID, files: dict[str, Path]
) -> UUID:
    """A source of files that were sent under these names."""
    source_id = add_source(uow, dataset_id, DatasetSourceKind.UPLOAD, uuid4().hex)
    with storage.staging() as folder:
        staging = StagingArea(folder, LIMITS)
        for name, path in files.items():
            file, target = staging.create(name)
            with target:
                target.write(path.read_bytes())
            staging.add(file)
        checked = check_cases(Upload(folder=folder, staging=staging, byte_count=0))
        storage.publish(StoredKind.DATASET_UPLOADS, checked.folder, source_id)
    return source_id


def add_edited_rtstruct(
    uow: UnitOfWork, storage: FilesystemStorage, ct: Sequence[Path], rtstruct: Path
) -> UUID:
    """An edited RTSTRUCT that was compared, with the series of its job, in rows and storage."""
    with uow:
        series, _ = uow.series.get_or_create(make_series())
        job = uow.contour_jobs.add(series.id, correlation_id="request-1", max_attempts=3)
        edited_id = add_edited_row(uow, job.id)
        for kind, resource_id, files in (
            (
                StoredKind.SERIES,
                series.id,
                {slice_name(n): path for n, path in enumerate(ct, start=1)},
            ),
            (StoredKind.EDITED_RTSTRUCTS, edited_id, {RTSTRUCT_NAME: rtstruct}),
        ):
            with storage.staging() as folder:
                for name, path in files.items():
                    (folder / name).write_bytes(path.read_bytes())
                storage.publish(kind, folder, resource_id)
        uow.commit()
    return edited_id


def add_edited_row(
    uow: UnitOfWork, job_id: UUID, state: JobState = JobState.SUCCEEDED, **values: Any
) -> UUID:
    """An edited RTSTRUCT in the open transaction."""
    edited = EditedRtstruct(
        id=uuid4(),
        job_id=job_id,
        reviewer="A",
        content_sha256=uuid4().hex * 2,
        byte_count=1,
        state=state,
        correlation_id="request-1",
        max_attempts=3,
        **({"created_at": uow._now()} | values),
    )
    uow._session.add(edited)
    uow._session.flush()
    return edited.id


def queue_version(uow: UnitOfWork, dataset_id: UUID, **changes: Any) -> UUID:
    """A committed version that reads all sources; changes go into its request."""
    mapping = {"ignore": [], "patient_pattern": None, "structures": {}, "labels": {}}
    with uow:
        sources = [
            {"id": str(s.id), "kind": s.kind.value, "content": s.content}
            for s in uow.datasets.sources_in_order(dataset_id)
        ]
        version = uow.dataset_versions.add(
            dataset_id,
            {"sources": sources, "mapping": mapping, **OPTIONS, **changes},
            structure_set="cervix",
            correlation_id="request-1",
            max_attempts=3,
        )
        uow.commit()
    return version.id


def end_version(uow: UnitOfWork, version_id: UUID, **outcome: Any) -> None:
    """Let a queued version succeed without any work."""
    with uow:
        claim = uow.leases.claim(
            TaskName.DATASET_VERSION_INDEX, version_id, owner="worker", seconds=60
        )
        assert claim is not None
        assert uow.leases.succeed(claim, {"case_count": 1, "refused_count": 0} | outcome)
        uow.commit()


def version_of(uow: UnitOfWork, version_id: UUID) -> DatasetVersion:
    with uow:
        return uow.dataset_versions.get(version_id)


def cases_of(uow: UnitOfWork, version_id: UUID) -> list[DatasetCase]:
    with uow:
        return uow.dataset_cases.page(version_id, 1000)


def tree_sha256(folder: Path) -> str:
    """Hash the names, contents and times of everything in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_mtime_ns}".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()
