from pathlib import Path

import pytest

from services.core.mounted_folders import (
    FolderNotFoundError,
    FolderOutsideMountError,
    MountedFolder,
    NoMountedDatasetsError,
    find_mounted_folder,
)


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    (tmp_path / "real" / "a" / "b").mkdir(parents=True)
    (tmp_path / "mount").symlink_to(tmp_path / "real")
    return tmp_path / "mount"


class TestFindMountedFolder:
    @pytest.mark.parametrize(
        ("asked", "name"), [("a", "a"), ("a/b/", "a/b"), ("./a/../a/b", "a/b"), (".", ".")]
    )
    def test_a_folder_has_one_name_though_the_mount_is_a_link(
        self, mount: Path, asked: str, name: str
    ) -> None:
        assert find_mounted_folder(mount, asked) == MountedFolder(
            path=(mount / name).resolve(), name=name
        )

    @pytest.mark.parametrize("asked", ["..", "a/../..", "/", "out"])
    def test_nothing_outside_is_found(self, mount: Path, asked: str) -> None:
        (mount / "out").symlink_to("/")
        with pytest.raises(FolderOutsideMountError) as caught:
            find_mounted_folder(mount, asked)
        assert caught.value.context == {"folder": asked}

    @pytest.mark.parametrize("asked", ["c", "file", "loop", "a\0b", "x" * 5000, "\udcff"])
    def test_what_is_no_folder_is_not_found(self, mount: Path, asked: str) -> None:
        (mount / "file").touch()
        (mount / "loop").symlink_to(mount / "loop")
        with pytest.raises(FolderNotFoundError):
            find_mounted_folder(mount, asked)

    def test_a_path_that_no_column_holds_is_not_found(self, mount: Path) -> None:
        deep = "/".join(["d" * 60] * 5)
        (mount / deep).mkdir(parents=True)
        (mount / "short").symlink_to(mount / deep)
        with pytest.raises(FolderNotFoundError):
            find_mounted_folder(mount, "short")

    def test_without_a_mount_there_is_none(self) -> None:
        with pytest.raises(NoMountedDatasetsError):
            find_mounted_folder(None, ".")
