import pytest

from ml.whole_files import write_whole, written_whole


def write_until_the_disk_is_full(path):
    with written_whole(path) as unfinished:
        unfinished.write_text("ne")
        raise OSError("the disk is full")


class TestWrittenWhole:
    def test_the_file_is_replaced_when_it_is_whole(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("old")

        with written_whole(path) as unfinished:
            unfinished.write_text("new")
            assert path.read_text() == "old"

        assert path.read_text() == "new"
        assert list(tmp_path.iterdir()) == [path]

    def test_hard_links_to_it_and_to_what_was_left_beside_it_keep_their_content(self, tmp_path):
        path, left = tmp_path / "a.txt", tmp_path / "a.txt.part"
        path.write_text("old")
        left.write_text("torn")
        (tmp_path / "links").mkdir()
        for file in (path, left):
            (tmp_path / "links" / file.name).hardlink_to(file)

        with written_whole(path) as unfinished:
            unfinished.write_text("new")

        assert (tmp_path / "links" / "a.txt").read_text() == "old"
        assert (tmp_path / "links" / "a.txt.part").read_text() == "torn"

    def test_after_an_error_it_is_as_it_was(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("old")

        with pytest.raises(OSError, match="full"):
            write_until_the_disk_is_full(path)

        assert path.read_text() == "old"

    def test_what_a_stopped_process_left_is_not_written_into(self, tmp_path):
        (tmp_path / "a.txt.part").write_text("le")
        (tmp_path / "linked").hardlink_to(tmp_path / "a.txt.part")

        write_whole(tmp_path / "a.txt", "new")

        assert (tmp_path / "linked").read_text() == "le"
        assert (tmp_path / "a.txt").read_text() == "new"


class TestWriteWhole:
    @pytest.mark.parametrize("content", ["Größe\n", b"\x00\xff"])
    def test_text_is_utf_8_and_bytes_are_bytes(self, tmp_path, content):
        write_whole(tmp_path / "a", content)

        expected = content.encode() if isinstance(content, str) else content
        assert (tmp_path / "a").read_bytes() == expected
