"""What monitoring reads of the data folder."""

from pathlib import Path

import pytest

from services.core.storage_facts import BACKUP_STAMP, StorageFacts


def test_room_is_that_of_the_file_system(tmp_path: Path) -> None:
    room = StorageFacts(tmp_path).room()
    assert 0 < room.free_bytes < room.total_bytes


def test_room_of_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        StorageFacts(tmp_path / "gone").room()


@pytest.mark.parametrize(
    ("content", "moment"), [(None, 0), ("1764205570.5\n", 1764205570.5), ("yesterday", 0)]
)
def test_the_backup_stamp_is_a_number_or_nothing(
    tmp_path: Path, content: str | None, moment: float
) -> None:
    if content is not None:
        (tmp_path / BACKUP_STAMP).write_text(content)
    assert StorageFacts(tmp_path).last_backup_timestamp() == moment


def test_bytes_are_added_up_below_a_kind_without_following_links(tmp_path: Path) -> None:
    folder = tmp_path / "series" / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "1").write_bytes(b"12345")
    (tmp_path / "series" / "a" / "2").write_bytes(b"123")
    (folder / "link").symlink_to(folder / "1")
    (folder / "loop").symlink_to(tmp_path)
    facts = StorageFacts(tmp_path)
    assert facts.measure("series", lambda: True) == 8
    assert facts.measure("results", lambda: True) == 0
    assert facts.measure("series", lambda: False) is None
