import errno
from pathlib import Path

import pytest

from services.core.disk import files_below


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    for path in (folder / "a", folder / "below" / "b", folder / "below" / "deeper" / "c"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


class TestFilesBelow:
    def test_files_of_any_depth_are_found(self, folder: Path) -> None:
        found = {path.relative_to(folder).as_posix() for path in files_below(folder)}

        assert found == {"a", "below/b", "below/deeper/c"}

    def test_nothing_is_found_without_a_folder(self, folder: Path) -> None:
        assert list(files_below(folder / "missing")) == []

    @pytest.mark.parametrize("name", ["folder", "folder/below", "folder/below/deeper"])
    def test_a_folder_that_is_moved_away_meanwhile_ends_there(
        self, folder: Path, name: str
    ) -> None:
        moved = folder.parent / name
        found = files_below(folder)
        next(found)
        moved.rename(folder.parent / "grave")

        assert len(list(found)) <= 1

    def test_another_error_is_raised(self, folder: Path) -> None:
        with pytest.raises(OSError, match="too long") as caught:
            list(files_below(folder / ("x" * 300)))

        assert caught.value.errno == errno.ENAMETOOLONG
