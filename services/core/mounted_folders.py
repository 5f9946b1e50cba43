"""Folders below the one that is mounted for datasets; nothing here ever writes."""

from dataclasses import dataclass
from pathlib import Path

from services.core.errors import ConflictError, ServiceError

MAX_PATH_BYTES = 255
"""What the column of a dataset's sources holds."""


class NoMountedDatasetsError(ConflictError):
    """The deployment has no folder below which others may be registered."""

    code = "no_mounted_datasets"

    def __init__(self) -> None:
        super().__init__("no folder is mounted for datasets (CERVICONTOUR_DATASETS_DIR)")


class FolderOutsideMountError(ServiceError):
    """A path leads out of the mounted folder."""

    code = "folder_outside_mount"

    def __init__(self, folder: str) -> None:
        super().__init__(
            "the folder does not lie below the one mounted for datasets", folder=folder
        )
        self.folder = folder


class FolderNotFoundError(ServiceError):
    """There is no such folder below the mounted one."""

    code = "folder_not_found"

    def __init__(self, folder: str) -> None:
        super().__init__(
            "there is no such folder below the one mounted for datasets", folder=folder
        )
        self.folder = folder


@dataclass(frozen=True, kw_only=True, slots=True)
class MountedFolder:
    """A folder below the mounted one."""

    path: Path
    """Links resolved."""
    name: str
    """Path below the mounted folder: one, however it was asked for; . is that folder itself."""


def find_mounted_folder(mount: Path | None, folder: str) -> MountedFolder:
    """Return a folder below the mounted one.

    Args:
        mount: the folder that is mounted for datasets, if any.
        folder: path below it.

    Raises:
        NoMountedDatasetsError: none is mounted.
        FolderOutsideMountError: the path, or a link on it, leads out of the mounted folder.
        FolderNotFoundError: there is no such folder.
    """
    if mount is None:
        raise NoMountedDatasetsError
    try:
        root = mount.resolve()
        found = (root / folder).resolve()
        if not found.is_relative_to(root):
            raise FolderOutsideMountError(folder)
        name = found.relative_to(root).as_posix()
        is_usable = found.is_dir() and len(name.encode()) <= MAX_PATH_BYTES
    except (OSError, ValueError, RuntimeError) as error:
        # too long, a NUL, a circle of links, no text, or not for this user to see
        raise FolderNotFoundError(folder) from error
    if not is_usable:
        raise FolderNotFoundError(folder)
    return MountedFolder(path=found, name=name)
