"""Files are sent as they are, piece by piece, under names the service understands."""

import os
from pathlib import Path

import pytest
from python_multipart import FormParser
from python_multipart.multipart import File, parse_options_header

from services.client.errors import UploadFilesError
from services.client.uploads import CHUNK_BYTES, FileBody, UploadBody, counted, upload_body


def received(body: UploadBody) -> dict[str, bytes]:
    """What a multipart parser that is not ours makes of a body."""
    files: dict[str, bytes] = {}

    def keep(file: File) -> None:
        file.file_object.seek(0)
        files[(file.file_name or b"").decode("utf-8", "surrogateescape")] = file.file_object.read()

    _, options = parse_options_header(body.content_type)
    parser = FormParser("multipart/form-data", None, keep, boundary=options[b"boundary"])
    for piece in body.pieces():
        parser.write(piece)
    parser.finalize()
    return files


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_folder_is_a_form_of_its_files_under_their_paths_in_it(tmp_path: Path) -> None:
    write(tmp_path / "cases" / "p1" / "IM1", b"one")
    write(tmp_path / "cases" / "p2" / "deep" / "IM1", b"two\r\n--")

    body = upload_body([tmp_path / "cases"])

    assert received(body) == {"p1/IM1": b"one", "p2/deep/IM1": b"two\r\n--"}


def test_folders_beside_others_keep_their_names(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.dcm", b"a"), write(tmp_path / "b" / "c.dcm", b"c").parent]

    assert received(upload_body(paths)) == {"a.dcm": b"a", "b/c.dcm": b"c"}


def test_one_zip_is_sent_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "CT.ZIP", b"PK")

    body = upload_body([path])

    assert (body.content_type, b"".join(body.pieces())) == ("application/zip", b"PK")


def test_a_zip_among_other_files_is_a_part_of_the_form(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.zip", b"PK"), write(tmp_path / "b.dcm", b"b")]

    assert received(upload_body(paths)) == {"a.zip": b"PK", "b.dcm": b"b"}


def test_the_length_is_announced_before_anything_is_read(tmp_path: Path) -> None:
    write(tmp_path / "ct" / "IM1", os.urandom(3 * CHUNK_BYTES + 17))
    write(tmp_path / "ct" / "empty", b"")

    body = upload_body([tmp_path / "ct"])

    assert body.byte_count == sum(map(len, body.pieces()))


def test_a_body_can_be_sent_again(tmp_path: Path) -> None:
    body = upload_body([write(tmp_path / "IM1", b"one")])

    assert list(body.pieces()) == list(body.pieces())


def test_a_large_file_is_never_whole_in_memory(tmp_path: Path) -> None:
    body = upload_body([write(tmp_path / "IM1", bytes(5 * CHUNK_BYTES))])

    assert max(map(len, body.pieces())) == CHUNK_BYTES


def test_quotes_and_line_ends_in_names_cannot_break_the_form(tmp_path: Path) -> None:
    write(tmp_path / 'a"b\r\nc.dcm', b"x")

    files = received(upload_body([tmp_path / 'a"b\r\nc.dcm']))

    assert files == {"a%22b%0D%0Ac.dcm": b"x"}


def test_a_name_that_is_no_text_is_sent_as_it_is(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Bl\xe4se"))

    assert list(received(upload_body([write(path, b"x")]))) == [path.name]


def test_progress_is_told_in_bytes(tmp_path: Path) -> None:
    body = FileBody(write(tmp_path / "a.zip", bytes(2 * CHUNK_BYTES + 5)), "application/zip")
    told: list[tuple[int, int]] = []

    b"".join(counted(body, lambda sent, total: told.append((sent, total))))

    whole = 2 * CHUNK_BYTES + 5
    assert told == [(CHUNK_BYTES, whole), (2 * CHUNK_BYTES, whole), (whole, whole)]


def test_a_file_that_becomes_shorter_is_not_sent_as_if_it_were_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "IM1", b"12345678")
    body = upload_body([path])
    path.write_bytes(b"1234")

    with pytest.raises(UploadFilesError, match="shorter"):
        list(body.pieces())


def test_a_file_that_grows_is_sent_as_long_as_announced(tmp_path: Path) -> None:
    path = write(tmp_path / "ct.zip", b"1234")
    body = upload_body([path])
    path.write_bytes(b"12345678")

    assert b"".join(body.pieces()) == b"1234"


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_nothing_to_send_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(UploadFilesError) as caught:
        upload_body([tmp_path / name])

    assert caught.value.code == "upload_files"
