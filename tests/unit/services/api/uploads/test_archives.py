"""Zips are unpacked within limits, and hostile ones refused."""

import io
import stat
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from services.api.uploads.archives import unpack_archive
from services.api.uploads.errors import UploadError
from services.api.uploads.limits import UploadLimits
from services.api.uploads.staging import StagingArea
from tests.factories.uploads import make_zip

LIMITS = UploadLimits(
    max_upload_bytes=1 << 20,
    max_unpacked_bytes=1 << 16,
    max_file_bytes=1 << 15,
    max_files=5,
    max_compression_ratio=50.0,
)


def unpacked(folder: Path, content: bytes, limits: UploadLimits = LIMITS) -> dict[str, bytes]:
    staging = StagingArea(folder, limits)
    file, target = staging.create("ct.zip")
    with target:
        target.write(content)
    unpack_archive(file, staging)
    assert not file.path.exists()
    return {file.name: file.path.read_bytes() for file in staging.files}


def refusal(folder: Path, content: bytes, limits: UploadLimits = LIMITS) -> UploadError:
    with pytest.raises(UploadError) as caught:
        unpacked(folder, content, limits)
    return caught.value


def with_member(info: zipfile.ZipInfo, content: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, content)
    return buffer.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_unpacked_under_numbers(tmp_path: Path, method: int) -> None:
    files = {"a/IM1": b"1" * 10, "b/IM1": b"2" * 10, "c.zip": make_zip({"x": b"y"})}
    assert unpacked(tmp_path, make_zip({**files, "empty/": b""}, method)) == files
    assert all(path.suffix == ".part" for path in tmp_path.iterdir())


def test_members_may_share_a_name(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("IM1", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("IM1", b"2")
    staging = StagingArea(tmp_path, LIMITS)
    file, target = staging.create("ct.zip")
    with target:
        target.write(buffer.getvalue())
    unpack_archive(file, staging)
    assert [file.path.read_bytes() for file in staging.files] == [b"1", b"2"]


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "C:/a", "..\\a", "../../b/", "/etc/"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    error = refusal(tmp_path, make_zip({"fine": b"x", name: b"y"}))
    assert (error.code, error.context["file_names"]) == ("path_traversal", [name])
    assert len(list(tmp_path.iterdir())) == 1, "nothing is unpacked before all names are checked"


def test_a_folder_with_content_is_no_folder(tmp_path: Path) -> None:
    error = refusal(tmp_path, make_zip({"1.dcm": b"a slice", "2.dcm/": b"another slice"}))
    assert error.code == "damaged_archive"


def test_what_lies_before_an_archive_is_not_passed_over(tmp_path: Path) -> None:
    first, last = make_zip({"1.dcm": b"a slice"}), make_zip({"2.dcm": b"another slice"})
    assert refusal(tmp_path, first + last).code == "damaged_archive"


def test_an_archive_that_was_to_be_split_is_taken(tmp_path: Path) -> None:
    files = {"1.dcm": b"a slice"}
    assert unpacked(tmp_path, b"PK00" + make_zip(files)) == files


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert refusal(tmp_path, with_member(link, b"/etc/passwd")).code == "path_traversal"


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    content = bytearray(make_zip({"a": b"x"}))
    directory = content.index(b"PK\x01\x02")
    content[directory + 8] |= 1
    error = refusal(tmp_path, bytes(content))
    assert (error.code, error.context["file_names"]) == ("encrypted_archive", ["a"])


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path: Path, method: int) -> None:
    assert refusal(tmp_path, make_zip({"a": b"x"}, method)).code == "unsupported_archive"


@pytest.mark.parametrize("size", [(1 << 15) + 1, 1 << 22])
def test_bombs_are_refused_when_the_bytes_come(tmp_path: Path, size: int) -> None:
    error = refusal(tmp_path, make_zip({"bomb": bytes(size)}))
    assert (error.code, error.context["file_names"]) == ("zip_bomb", ["ct.zip"])
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < size


def test_a_small_smooth_image_is_no_bomb(tmp_path: Path) -> None:
    assert unpacked(tmp_path, make_zip({"air": bytes(20_000)})) == {"air": bytes(20_000)}


class TestLimits:
    def test_files(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, make_zip({str(i): b"x" for i in range(6)}))
        assert (error.code, error.context) == ("too_many_files", {"max_files": 5})

    def test_bytes_of_one_file(self, tmp_path: Path) -> None:
        limits = replace(LIMITS, max_file_bytes=10)
        error = refusal(tmp_path, make_zip({"a": b"0123456789", "b": b"0123456789a"}), limits)
        assert (error.code, error.context["file_names"]) == ("too_many_bytes", ["b"])

    def test_bytes_of_all_files(self, tmp_path: Path) -> None:
        limits = replace(LIMITS, max_unpacked_bytes=15)
        error = refusal(tmp_path, make_zip({"a": b"0123456789", "b": b"0123456789"}), limits)
        assert (error.code, error.context) == ("too_many_bytes", {"max_unpacked_bytes": 15})

    def test_a_directory_that_claims_to_fill_the_memory_is_not_read(self, tmp_path: Path) -> None:
        content = bytearray(make_zip({"a": b"x"}) + bytes(1 << 22))
        end = content.index(b"PK\x05\x06")
        record = content[end : end + 22]
        struct.pack_into("<II", record, 12, 3 << 20, 0)  # size and offset of the directory
        error = refusal(tmp_path, bytes(content[:end] + bytes(3 << 20) + record))
        assert error.code == "too_many_files"


class TestDamage:
    @pytest.mark.parametrize("cut", [30, 60, 100])
    def test_cut_archives_are_refused(self, tmp_path: Path, cut: int) -> None:
        content = make_zip({"a": bytes(range(256)) * 8}, zipfile.ZIP_STORED)
        assert refusal(tmp_path, content[:-cut]).code == "damaged_archive"

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_changed_members_are_refused(self, tmp_path: Path, method: int) -> None:
        content = bytearray(make_zip({"a": bytes(range(256)) * 8}, method))
        content[60] ^= 0xFF
        assert refusal(tmp_path, bytes(content)).code == "damaged_archive"


class TestDirectories:
    """What the list at the end of a zip says need not be so."""

    def entries(self, content: bytes) -> list[int]:
        """The places of the entries of a zip's directory."""
        places, at = [], content.find(b"PK\x01\x02")
        while at >= 0:
            places.append(at)
            at = content.find(b"PK\x01\x02", at + 1)
        return places

    def changed(self, content: bytes, at: int, value: bytes) -> bytes:
        return content[:at] + value + content[at + len(value) :]

    def test_members_that_share_bytes_are_refused(self, tmp_path: Path) -> None:
        content = make_zip({"a": bytes(3000), "b": bytes(3000)}, zipfile.ZIP_STORED)
        first, second = self.entries(content)
        overlapping = self.changed(content, second + 42, content[first + 42 : first + 46])
        assert refusal(tmp_path, overlapping).code == "damaged_archive"

    @pytest.mark.parametrize("place", [0xFFFFFFF0, 0x7FFFFFFF, 10])
    def test_a_member_that_lies_nowhere_is_refused(self, tmp_path: Path, place: int) -> None:
        content = make_zip({"a": b"1"})
        (entry,) = self.entries(content)
        moved = self.changed(content, entry + 42, struct.pack("<I", place))
        assert refusal(tmp_path, moved).code == "damaged_archive"

    def test_a_directory_before_the_start_is_no_disk_error(self, tmp_path: Path) -> None:
        content = make_zip({"a": b"1", "b": b"2"})
        end = content.rindex(b"PK\x05\x06")
        (first, *_) = self.entries(content)
        moved = self.changed(content, first + 42, struct.pack("<I", 0xFFFFFFF0))
        moved = self.changed(moved, end + 16, struct.pack("<I", 0x7FFFFFF0))
        assert refusal(tmp_path, moved).code == "damaged_archive"

    def test_names_that_are_not_the_utf_8_they_claim_to_be_are_refused(
        self, tmp_path: Path
    ) -> None:
        content = make_zip({"\N{SNOWMAN}": b"1"})
        (entry,) = self.entries(content)
        assert refusal(tmp_path, self.changed(content, entry + 46, b"\xff")).code == (
            "damaged_archive"
        )

    def test_names_of_old_programs_are_kept_as_code_page_437(self, tmp_path: Path) -> None:
        content = make_zip({"a": b"1"}).replace(b"a", b"\x81")
        assert unpacked(tmp_path, content) == {"ü": b"1"}

    def test_a_version_from_the_future_is_unsupported(self, tmp_path: Path) -> None:
        content = make_zip({"a": b"1"})
        (entry,) = self.entries(content)
        assert refusal(tmp_path, self.changed(content, entry + 6, b"\xff\0")).code == (
            "unsupported_archive"
        )

    @pytest.mark.parametrize("method", [9, 12, 14, 93, 95, 98])
    def test_other_methods_are_unsupported(self, tmp_path: Path, method: int) -> None:
        """Deflate64, bzip2, LZMA, Zstandard, xz and PPMd."""
        content = make_zip({"a": b"1"})
        (entry,) = self.entries(content)
        changed = self.changed(content, entry + 10, struct.pack("<H", method))
        assert refusal(tmp_path, changed).code == "unsupported_archive"

    def test_a_wrong_size_does_not_make_a_file_longer_than_its_content(
        self, tmp_path: Path
    ) -> None:
        content = make_zip({"a": b"1" * 100})
        (entry,) = self.entries(content)
        for size in (0, 50, 10_000):
            changed = self.changed(content, entry + 24, struct.pack("<I", size))
            folder = tmp_path / str(size)
            folder.mkdir()
            assert refusal(folder, changed).code == "damaged_archive"

    def test_more_entries_than_files_are_allowed_never_become_objects(self, tmp_path: Path) -> None:
        content = make_zip({f"{'d' * 60}{number}/": b"" for number in range(12_000)})
        assert refusal(tmp_path, content).code == "too_many_files"

    def test_an_archive_with_room_for_longer_sizes_is_taken(self, tmp_path: Path) -> None:
        buffer = io.BytesIO()
        with (
            zipfile.ZipFile(buffer, "w") as archive,
            archive.open("a", "w", force_zip64=True) as member,
        ):
            member.write(b"1")
        assert unpacked(tmp_path, buffer.getvalue()) == {"a": b"1"}
