"""From the bytes of a request body to files in a staging area, in pieces of any size.

Everything here is synchronous and runs in worker threads; stream.py feeds it.
"""

from typing import BinaryIO, Protocol

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MAX_BOUNDARY_LENGTH, parse_options_header

from services.api.uploads.errors import UploadError, UploadErrorCode
from services.api.uploads.names import shown_name
from services.api.uploads.staging import StagedFile, StagingArea

ARCHIVE_TYPES = frozenset({"application/zip", "application/x-zip-compressed"})
FORM_TYPE = "multipart/form-data"
RELATED_TYPE = "multipart/related"
DICOM_TYPE = "application/dicom"
BODY_NAME = "request body"


class Receiver(Protocol):
    """Takes a request body piece by piece."""

    def feed(self, piece: bytes) -> None:
        """Write what the piece holds."""
        ...

    def finish(self) -> None:
        """Check that the body was complete and close what is open."""
        ...

    def close(self) -> None:
        """Close what is open, complete or not; may be called again."""
        ...


def new_receiver(content_type: str, staging: StagingArea) -> Receiver:
    """Return the receiver for a Content-Type.

    Raises:
        UploadError: unsupported_media_type, or malformed_multipart for a missing boundary.
    """
    kind, options = parse_options_header(content_type)
    media_type = kind.decode("latin-1")
    if media_type in ARCHIVE_TYPES:
        return ArchiveReceiver(staging)
    if media_type in (FORM_TYPE, RELATED_TYPE):
        return MultipartReceiver(media_type, options.get(b"boundary", b""), staging)
    raise UploadError(
        UploadErrorCode.UNSUPPORTED_MEDIA_TYPE,
        "Send application/zip, multipart/form-data or multipart/related.",
        facts={"content_type": shown_name(content_type)},
    )


def new_file_receiver(content_type: str, staging: StagingArea) -> Receiver:
    """Return the receiver of one DICOM file for a Content-Type.

    Raises:
        UploadError: unsupported_media_type, or malformed_multipart for a missing boundary.
    """
    kind, options = parse_options_header(content_type)
    media_type = kind.decode("latin-1")
    if media_type == DICOM_TYPE:
        return FileReceiver(staging)
    if media_type == FORM_TYPE:
        return MultipartReceiver(media_type, options.get(b"boundary", b""), staging)
    raise UploadError(
        UploadErrorCode.UNSUPPORTED_MEDIA_TYPE,
        "Send application/dicom, or multipart/form-data with one file.",
        facts={"content_type": shown_name(content_type)},
    )


class FileReceiver:
    """Takes a body that is one file."""

    def __init__(self, staging: StagingArea) -> None:
        self._staging = staging
        self._received = 0
        self._file, self._target = staging.create(BODY_NAME)

    def feed(self, piece: bytes) -> None:
        """Append to the file."""
        self._received += len(piece)
        self._target.write(piece)

    def finish(self) -> None:
        """Check that there is a file.

        Raises:
            UploadError: empty_upload.
        """
        self._target.close()
        if not self._received:
            raise empty_upload()
        self._check(self._file)
        self._staging.add(self._file)

    def close(self) -> None:
        """Close the file."""
        self._target.close()

    def _check(self, file: StagedFile) -> None:
        """Take any content; others look into it."""


class ArchiveReceiver(FileReceiver):
    """Takes a body that is one zip."""

    def _check(self, file: StagedFile) -> None:
        if not file.is_archive():
            raise UploadError(UploadErrorCode.NOT_A_ZIP, "The request body is not a zip.")


class MultipartReceiver:
    """Takes multipart/form-data (every part a file) and multipart/related (DICOM PS3.18 8.7)."""

    def __init__(self, media_type: str, boundary: bytes, staging: StagingArea) -> None:
        if not 0 < len(boundary) <= MAX_BOUNDARY_LENGTH:
            raise _malformed("The Content-Type names no usable boundary.")
        self._is_form = media_type == FORM_TYPE
        self._staging = staging
        self._parts = 0
        self._is_complete = False
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._file: StagedFile | None = None
        self._target: BinaryIO | None = None
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, piece: bytes) -> None:
        """Parse the piece and write the part data in it.

        Raises:
            UploadError: the body breaks the format or a limit.
        """
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _malformed("The multipart body breaks the format.") from error

    def finish(self) -> None:
        """Check that the closing boundary was seen.

        Raises:
            UploadError: empty_upload or malformed_multipart.
        """
        if not self._is_complete:
            raise _malformed("The multipart body ends before its closing boundary.")
        if not self._staging.files:
            raise empty_upload()

    def close(self) -> None:
        """Close the part that is being written."""
        if self._target is not None:
            self._target.close()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[bytes(self._header_name).lower()] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        self._parts += 1
        self._staging.count_file()
        self._file, self._target = self._staging.create(self._part_name())

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._target is not None:
            self._target.write(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        if self._target is not None and self._file is not None:
            self._target.close()
            self._staging.add(self._file)

    def _on_end(self) -> None:
        self._is_complete = True

    def _part_name(self) -> str:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"filename", b"").decode("utf-8", "replace")
        if self._is_form and b"filename" not in options:
            field = options.get(b"name", b"").decode("utf-8", "replace")
            raise UploadError(
                UploadErrorCode.UNEXPECTED_FORM_FIELD,
                "The form has a field that is not a file.",
                facts={"field": shown_name(field)},
            )
        return name or f"part {self._parts}"


def empty_upload() -> UploadError:
    """Return the refusal of an upload without any file."""
    return UploadError(UploadErrorCode.EMPTY_UPLOAD, "The upload holds no file.")


def _malformed(message: str) -> UploadError:
    return UploadError(UploadErrorCode.MALFORMED_MULTIPART, message)
