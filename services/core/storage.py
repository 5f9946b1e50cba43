"""Where the bytes lie: uploads in work, CT series and results, under keys that identify nobody.

incoming/<uuid>/             being written; belongs to the process that made it
incoming/<kind>-<uuid>/      being removed for good; see erase()
<kind>/<uuid>/...            published, complete and never changed: see StoredKind
workspaces/<uuid>/<token>/   of work that outlives its worker, one folder a start
crops/<uuid>/                what can be made again
private/                     the keys of pseudonyms and seals; whoever has them finds patients again
key-ids/                     hashes of the keys, so that no other one takes the place of a lost one
"""

import os
import shutil
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from uuid import UUID, uuid4

from services.core.disk import disk_errors, files_below, last_write, remove_tree, sync, walk
from services.core.errors import StoredFilesMissingError

FLUSH_THREADS = 8
"""Files flushed at a time: the filesystem writes its journal once for all that wait for it."""

RTSTRUCT_NAME = "rtstruct.dcm"
"""The file of a contour job's result, a shadow's, and of an edited one."""

WEIGHTS_NAME = "checkpoint.safetensors"
"""The weights of a run and of a model version."""
CARD_NAME = "checkpoint.json"
"""What is known of them, beside them."""


PROBE = b"x" * 4096
"""What is written to see whether anything can be."""

SEALED_NAME = "original.sealed"
"""Beside de-identified files: what was taken out of them, encrypted."""

UPLOAD_NAMES_FILE = "names.json"
"""Beside the files of a dataset's upload: the sender's names by path in the folder."""


class StoredKind(StrEnum):
    """What is kept; the values are folder names."""

    SERIES = "series"
    """The files of a CT series, 00001.dcm and so on."""
    RESULTS = "results"
    """What a contour job released."""
    SHADOW_RESULTS = "shadow-results"
    EDITED_RTSTRUCTS = "edited-rtstructs"
    DATASET_UPLOADS = "dataset-uploads"
    """Files that were sent to a dataset."""
    DATASETS = "datasets"
    """A version of a dataset, in the layout of ml.data.dataset."""
    RUNS = "runs"
    """Weights, card and configuration of a run that succeeded."""
    REPORTS = "reports"
    MODEL_VERSIONS = "model-versions"
    """Weights and card of a model version."""
    MODEL_UPLOADS = "model-uploads"
    """Weights and card of a model version that was sent and is to be checked."""
    WORKSPACES = "workspaces"
    """Of work that outlives its worker; never published, see workspace()."""
    CROPS = "crops"
    """Of a dataset version, by its id; they can be made again."""


def slice_name(number: int) -> str:
    """Name the file of a series' slice, counted from 1."""
    return f"{number:05d}.dcm"


class Storage(Protocol):
    """Keeps folders of files; what is published is complete or absent, never in between."""

    def staging(self) -> AbstractContextManager[Path]:
        """Open a folder to write into; what was not published is gone afterwards."""
        ...

    def publish(self, kind: StoredKind, folder: Path, resource_id: UUID) -> None:
        """Make a folder the files of a resource, in place of any earlier ones."""
        ...

    def publish_once(self, kind: StoredKind, folder: Path, resource_id: UUID) -> None:
        """Make a folder the files of a resource; files already there stay."""
        ...

    def folder(self, kind: StoredKind, resource_id: UUID) -> Path:
        """Return the folder of a resource; raises StoredFilesMissingError."""
        ...

    def file(self, kind: StoredKind, resource_id: UUID, name: str) -> Path:
        """Return a file of a resource; raises StoredFilesMissingError."""
        ...

    def delete(self, kind: StoredKind, resource_id: UUID) -> None:
        """Remove the files of a resource, if any."""
        ...

    def measure(self, kind: StoredKind, resource_id: UUID) -> tuple[int, int]:
        """Return how many files a resource has and their bytes; zeros without a folder."""
        ...

    def erase(self, kind: StoredKind, resource_id: UUID) -> None:
        """Remove the files of a resource for good, whatever an earlier try left of them."""
        ...

    def list_stored(self, kind: StoredKind, older_than_seconds: float) -> list[UUID]:
        """List resources with files of at least that age."""
        ...

    def sweep_staging(self, older_than_seconds: float) -> int:
        """Remove staged folders that nobody has written to for so long; return how many."""
        ...

    def workspace(self, resource_id: UUID, fencing_token: int, *, after: int = 0) -> Path:
        """Return the folder of one start of a piece of work, with what the start before left."""
        ...

    def crops_folder(self, version_id: UUID) -> Path:
        """Return where crops of a dataset version are kept; they can be made again."""
        ...

    def flush(self, folder: Path) -> None:
        """Make what a folder holds durable, so that publishing it takes no time."""
        ...

    def pseudonym_key_path(self) -> Path:
        """Return where the key of the pseudonyms is kept, which names patients in datasets."""
        ...

    def sealing_key_path(self) -> Path:
        """Return where the key is kept under which originals are sealed."""
        ...

    def key_note_path(self, key: Path) -> Path:
        """Return where it is noted which key one of these is, apart from the key."""
        ...

    def check(self) -> None:
        """Prove that the storage can be written; raises StorageUnavailableError."""
        ...


class FilesystemStorage:
    """Storage in one folder of one filesystem, so that publishing is a rename."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"

    @contextmanager
    def staging(self) -> Generator[Path]:
        """Open a folder to write into; what was not published is gone afterwards.

        Raises:
            StorageUnavailableError: the folder cannot be made.
        """
        folder = self._incoming / str(uuid4())
        with disk_errors():
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            if folder.exists():
                shutil.rmtree(folder)

    def publish(self, kind: StoredKind, folder: Path, resource_id: UUID) -> None:
        """Make a folder the files of a resource, in place of any earlier ones.

        The caller holds the resource's row, so no other process publishes or deletes it meanwhile.
        Earlier files are left by a worker that died between publishing and its commit.

        Raises:
            StorageUnavailableError: the files cannot be made durable.
        """
        target = self._root / kind / str(resource_id)
        with disk_errors():
            self.delete(kind, resource_id)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.flush(folder)
            folder.replace(target)
            sync(target.parent)

    def publish_once(self, kind: StoredKind, folder: Path, resource_id: UUID) -> None:
        """Make a folder the files of a resource; files already there stay.

        The caller holds the resource's row, as above.

        Raises:
            StorageUnavailableError: the files cannot be made durable.
        """
        if not (self._root / kind / str(resource_id)).exists():
            self.publish(kind, folder, resource_id)

    def folder(self, kind: StoredKind, resource_id: UUID) -> Path:
        """Return the folder of a resource.

        Raises:
            StoredFilesMissingError: nothing is stored for it.
        """
        folder = self._root / kind / str(resource_id)
        if not folder.is_dir():
            raise StoredFilesMissingError(kind, resource_id)
        return folder

    def file(self, kind: StoredKind, resource_id: UUID, name: str) -> Path:
        """Return a file of a resource.

        Raises:
            StoredFilesMissingError: it is not stored.
        """
        path = self._root / kind / str(resource_id) / name
        if not path.is_file():
            raise StoredFilesMissingError(kind, resource_id)
        return path

    def delete(self, kind: StoredKind, resource_id: UUID) -> None:
        """Remove the files of a resource, if any."""
        self._bury(self._root / kind / str(resource_id))

    def measure(self, kind: StoredKind, resource_id: UUID) -> tuple[int, int]:
        """Return how many files a resource has and their bytes; zeros without a folder."""
        folder = self._root / kind / str(resource_id)
        sizes: list[int] = []
        with disk_errors():
            for path in files_below(folder):
                with suppress(FileNotFoundError):  # removed at this moment
                    sizes.append(path.lstat().st_size)
        return len(sizes), sum(sizes)

    def erase(self, kind: StoredKind, resource_id: UUID) -> None:
        """Remove the files of a resource for good, whatever an earlier try left of them.

        The grave has a name of its own, so that whoever goes on after a crash finds what was left.
        Several processes may do so at once. Raises StorageUnavailableError.
        """
        folder = self._root / kind / str(resource_id)
        grave = self._incoming / f"{kind}-{resource_id}"
        with disk_errors():
            self._incoming.mkdir(parents=True, exist_ok=True)
            remove_tree(grave)
            with suppress(FileNotFoundError):
                folder.replace(grave)
                sync(folder.parent)
            remove_tree(grave)
            # without this a power cut could bring back what is recorded as gone
            sync(self._incoming)

    def list_stored(self, kind: StoredKind, older_than_seconds: float) -> list[UUID]:
        """List resources with files of at least that age."""
        return _resource_ids(self._older(self._root / kind, older_than_seconds))

    def sweep_staging(self, older_than_seconds: float) -> int:
        """Remove staged folders that nobody has written to for so long; return how many."""
        stale = self._older(self._incoming, older_than_seconds)
        for folder in stale:
            shutil.rmtree(folder, ignore_errors=True)  # another worker may sweep it at this moment
        return len(stale)

    def workspace(self, resource_id: UUID, fencing_token: int, *, after: int = 0) -> Path:
        """Return the folder of one start of a piece of work, with what the start before left.

        Every start has a folder of its own, so that a worker frozen past its lease cannot write
        among the files of the next one. They are hard links: replace them, never change them.

        Args:
            resource_id: of the row that is worked on.
            fencing_token: of the start.
            after: starts up to this token left nothing that counts.

        Raises:
            StorageUnavailableError: the folder cannot be made.
        """
        parent = self._root / StoredKind.WORKSPACES / str(resource_id)
        own = parent / str(fencing_token)
        with disk_errors():
            if own.exists():
                return own
            own.parent.mkdir(parents=True, exist_ok=True)
            earlier = [int(path.name) for path in parent.iterdir() if path.name.isdecimal()]
            latest = max((token for token in earlier if after < token < fencing_token), default=0)
            unfinished = parent / f".{fencing_token}.part"
            shutil.rmtree(unfinished, ignore_errors=True)
            if latest:
                # a link for every file; what is half written has a name of its own and goes unused
                shutil.copytree(parent / str(latest), unfinished, copy_function=os.link)
            else:
                unfinished.mkdir()
            unfinished.rename(own)
        return own

    def crops_folder(self, version_id: UUID) -> Path:
        """Return where crops of a dataset version are kept; they can be made again."""
        return self._root / StoredKind.CROPS / str(version_id)

    def flush(self, folder: Path) -> None:
        """Make what a folder holds durable, so that publishing it takes no time.

        Gigabytes are flushed before a transaction begins, for it keeps others from writing.

        Raises:
            StorageUnavailableError: the files cannot be made durable.
        """
        with disk_errors(), ThreadPoolExecutor(FLUSH_THREADS) as threads:
            for _ in threads.map(sync, walk(folder)):
                pass

    def pseudonym_key_path(self) -> Path:
        """Return where the key of the pseudonyms is kept, which names patients in datasets."""
        return self._root / "private" / "pseudonym.key"

    def sealing_key_path(self) -> Path:
        """Return where the key is kept under which originals are sealed."""
        return self._root / "private" / "sealing.key"

    def key_note_path(self, key: Path) -> Path:
        """Return where it is noted which key one of these is, apart from the key."""
        return self._root / "key-ids" / f"{key.stem}.id"

    def check(self) -> None:
        """Prove that the storage can be written.

        Raises:
            StorageUnavailableError: a file cannot be written.
        """
        with self.staging() as folder, disk_errors():
            # Bytes that must reach the disk: a full one still makes empty files.
            (folder / "probe").write_bytes(PROBE)
            sync(folder / "probe")

    def _older(self, parent: Path, seconds: float) -> list[Path]:
        if not parent.is_dir():
            return []
        latest = self._disk_time() - seconds
        return [folder for folder in parent.iterdir() if last_write(folder) <= latest]

    def _disk_time(self) -> float:
        """Ask the filesystem what time it is: a server's, or before ours was set, it is another."""
        probe = self._root / ".time"
        probe.touch()
        return probe.stat().st_mtime

    def _bury(self, folder: Path) -> None:
        # Renamed first, so that no reader ever sees half a folder; a sweep ends what a crash left.
        grave = self._incoming / str(uuid4())
        try:
            grave.parent.mkdir(parents=True, exist_ok=True)
            folder.replace(grave)
        except FileNotFoundError:
            return
        shutil.rmtree(grave)


def _resource_ids(folders: list[Path]) -> list[UUID]:
    """Return the ids in folder names; what an operator put there has none and is left alone."""
    return [UUID(folder.name) for folder in folders if _is_uuid(folder.name)]


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
