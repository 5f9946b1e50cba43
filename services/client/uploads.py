"""Files as request bodies: read while they are sent, never whole in memory."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from services.client.errors import UploadFilesError

CHUNK_BYTES = 1 << 18
"""Read and sent at a time: some thousand steps of a progress bar for a large CT."""
ZIP_MEDIA_TYPE = "application/zip"

OnBytes = Callable[[int, int], None]
"""Called with the bytes sent so far and all there are; begins again when a request does."""


class UploadBody(Protocol):
    """A request body of known length that may be sent several times."""

    @property
    def content_type(self) -> str:
        """Content-Type of the request."""
        ...

    @property
    def byte_count(self) -> int:
        """Content-Length of the request."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """Yield the body from its beginning.

        Raises:
            UploadFilesError: a file has become shorter.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedFile:
    """A file on disk, and what the service is told it is called."""

    path: Path
    name: str
    byte_count: int


class FileBody:
    """One file as it is."""

    def __init__(self, path: Path, content_type: str) -> None:
        self.content_type = content_type
        self._file = _named(path, path.name)
        self.byte_count = self._file.byte_count

    def pieces(self) -> Iterator[bytes]:
        """Yield the file."""
        return _read(self._file)


class FormBody:
    """Files as multipart/form-data, one after the other."""

    def __init__(self, files: Sequence[NamedFile]) -> None:
        boundary = uuid4().hex
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._parts = [(_part_head(boundary, file.name), file) for file in files]
        self._end = f"--{boundary}--\r\n".encode()
        parts = sum(len(head) + file.byte_count + len(_LINE_END) for head, file in self._parts)
        self.byte_count = parts + len(self._end)

    def pieces(self) -> Iterator[bytes]:
        """Yield every file with its head."""
        for head, file in self._parts:
            yield head
            yield from _read(file)
            yield _LINE_END
        yield self._end


def upload_body(paths: Sequence[Path]) -> UploadBody:
    """Return what sends files and folders: one zip as it is, everything else as a form.

    Files of a folder are called by their path in it, as in a zip of it; where several things are
    sent, the folder's name comes before.

    Raises:
        UploadFilesError: there is no file.
    """
    if len(paths) == 1 and paths[0].suffix.lower() == ".zip" and paths[0].is_file():
        return FileBody(paths[0], ZIP_MEDIA_TYPE)
    if len(paths) == 1 and paths[0].is_dir():
        files = _files_in(paths[0], paths[0])
    else:
        files = [file for path in paths for file in _files_at(path)]
    if not files:
        raise UploadFilesError(f"{', '.join(map(str, paths)) or 'nothing'}: there is no file")
    return FormBody(files)


def counted(body: UploadBody, on_bytes: OnBytes | None) -> Iterator[bytes]:
    """Yield a body and tell how far it is."""
    sent = 0
    for piece in body.pieces():
        yield piece
        sent += len(piece)
        if on_bytes is not None:
            on_bytes(sent, body.byte_count)


_LINE_END = b"\r\n"


def _files_at(path: Path) -> list[NamedFile]:
    if not path.is_dir():
        return [_named(path, path.name)]
    folder = path.resolve()
    return _files_in(folder, folder.parent)


def _files_in(folder: Path, top: Path) -> list[NamedFile]:
    found = sorted(file for file in folder.rglob("*") if file.is_file())
    return [_named(file, file.relative_to(top).as_posix()) for file in found]


def _named(path: Path, name: str) -> NamedFile:
    try:
        return NamedFile(path=path, name=name, byte_count=path.stat().st_size)
    except OSError as error:
        raise UploadFilesError(f"{path} cannot be read: {error.strerror}") from error


def _part_head(boundary: str, name: str) -> bytes:
    # As browsers write names: WHATWG HTML, 4.10.22.7. A name that is no text is sent as it is.
    for character, escaped in (('"', "%22"), ("\r", "%0D"), ("\n", "%0A")):
        name = name.replace(character, escaped)
    disposition = b'Content-Disposition: form-data; name="file"; filename="%s"' % os.fsencode(name)
    kind = b"Content-Type: application/octet-stream"
    return _LINE_END.join([f"--{boundary}".encode(), disposition, kind, b"", b""])


def _read(file: NamedFile) -> Iterator[bytes]:
    missing = file.byte_count
    with file.path.open("rb") as source:
        while missing:
            piece = source.read(min(CHUNK_BYTES, missing))
            if not piece:
                raise UploadFilesError(f"{file.path} became shorter while it was sent")
            missing -= len(piece)
            yield piece
