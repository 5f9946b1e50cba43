"""Multipart and zip bodies become files, whatever size the pieces have."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.api.uploads.errors import UploadError
from services.api.uploads.limits import UploadLimits
from services.api.uploads.receivers import new_receiver
from services.api.uploads.staging import StagingArea

LIMITS = UploadLimits(
    max_upload_bytes=1 << 20,
    max_unpacked_bytes=1 << 20,
    max_file_bytes=1 << 18,
    max_files=5,
    max_compression_ratio=50.0,
)
FORM = 'multipart/form-data; boundary="b"'
RELATED = 'multipart/related; type="application/dicom"; boundary=b'


def form_part(name: str, content: bytes) -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n"


def received(folder: Path, content_type: str, body: bytes, piece_bytes: int = 1 << 16):
    staging = StagingArea(folder, LIMITS)
    receiver = new_receiver(content_type, staging)
    try:
        for start in range(0, len(body), piece_bytes):
            receiver.feed(body[start : start + piece_bytes])
        receiver.finish()
    finally:
        receiver.close()
    files = {file.name: file.path.read_bytes() for file in staging.files}
    assert len(files) == len(staging.files), "every file is there once"
    return files


def refusal(call: Callable[[], object]) -> UploadError:
    with pytest.raises(UploadError) as caught:
        call()
    return caught.value


class TestMultipart:
    @given(
        contents=st.lists(st.binary(max_size=200), min_size=1, max_size=5),
        piece_bytes=st.integers(1, 300),
    )
    @settings(max_examples=60)
    def test_parts_arrive_whole_however_the_body_is_cut(
        self, tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], piece_bytes: int
    ) -> None:
        contents = [content.replace(b"\r\n--b", b"") for content in contents]
        body = b"".join(form_part(f"f{i}", content) for i, content in enumerate(contents))
        files = received(tmp_path_factory.mktemp("staging"), FORM, body + b"--b--\r\n", piece_bytes)
        assert files == {f"f{i}": content for i, content in enumerate(contents)}

    def test_files_lie_under_numbers_not_under_the_senders_names(self, tmp_path: Path) -> None:
        received(tmp_path, FORM, form_part("DOE^JANE.dcm", b"x") + b"--b--")
        assert [path.name for path in tmp_path.iterdir()] == ["00001.part"]

    def test_related_parts_need_no_name(self, tmp_path: Path) -> None:
        part = b"--b\r\nContent-Type: application/dicom\r\n\r\nabc\r\n"
        assert received(tmp_path, RELATED, part + part + b"--b--") == {
            "part 1": b"abc",
            "part 2": b"abc",
        }

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"no boundary at all",
            form_part("a", b"x"),
            form_part("a", b"x") + b"--b",
            form_part("a", b"x") + b"--b-",
            b"--b\r\nContent-Disposition form-data\r\n\r\nx\r\n--b--",
        ],
    )
    def test_truncated_or_malformed_bodies_are_refused(self, tmp_path: Path, body: bytes) -> None:
        assert refusal(lambda: received(tmp_path, FORM, body)).code == "malformed_multipart"

    @pytest.mark.parametrize("content_type", ["multipart/form-data", f"{FORM[:30]}" + "b" * 300])
    def test_a_boundary_is_needed(self, tmp_path: Path, content_type: str) -> None:
        assert refusal(lambda: received(tmp_path, content_type, b"")).code == "malformed_multipart"

    def test_a_form_without_parts_is_empty(self, tmp_path: Path) -> None:
        assert refusal(lambda: received(tmp_path, FORM, b"--b--\r\n")).code == "empty_upload"

    def test_a_field_that_is_no_file_is_named(self, tmp_path: Path) -> None:
        body = b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nx\r\n--b--'
        error = refusal(lambda: received(tmp_path, FORM, body))
        assert error.code == "unexpected_form_field"
        assert error.context == {"field": "note"}

    def test_one_part_too_many_is_not_written(self, tmp_path: Path) -> None:
        body = b"".join(form_part(str(i), b"x") for i in range(6)) + b"--b--"
        error = refusal(lambda: received(tmp_path, FORM, body))
        assert error.code == "too_many_files"
        assert len(list(tmp_path.iterdir())) == LIMITS.max_files

    @pytest.mark.parametrize("name", ["../a.dcm", "/etc/a", "a/../../b", "C:a", "..", "a\\..\\b"])
    def test_names_that_lead_elsewhere_are_refused(self, tmp_path: Path, name: str) -> None:
        body = form_part(name.replace("\\", "\\\\"), b"x") + b"--b--"
        error = refusal(lambda: received(tmp_path, FORM, body))
        assert error.code == "path_traversal"
        assert error.context == {"file_names": [name]}
        assert not list(tmp_path.iterdir())


class TestOtherBodies:
    def test_a_body_that_is_no_zip_is_refused(self, tmp_path: Path) -> None:
        error = refusal(lambda: received(tmp_path, "application/zip", b"hello"))
        assert error.code == "not_a_zip"

    def test_an_empty_body_is_refused(self, tmp_path: Path) -> None:
        assert refusal(lambda: received(tmp_path, "application/zip", b"")).code == "empty_upload"

    @pytest.mark.parametrize("content_type", ["", "text/plain", "application/json; charset=x"])
    def test_other_types_are_refused(self, tmp_path: Path, content_type: str) -> None:
        error = refusal(lambda: received(tmp_path, content_type, b"x"))
        assert error.code == "unsupported_media_type"
        assert error.context == {"content_type": content_type}
