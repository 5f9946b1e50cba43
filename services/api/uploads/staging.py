"""The folder in which one request's files are collected before anything is decided."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from services.api.uploads.errors import UploadError, UploadErrorCode
from services.api.uploads.limits import UploadLimits
from services.api.uploads.names import is_escaping, printable_name, shown_name

DICOM_PREFIX_LENGTH = 128
"""Bytes before the letters DICM, PS3.10 7.1."""
ARCHIVE_MAGIC = b"PK\x03\x04"
EMPTY_ARCHIVE_MAGIC = b"PK\x05\x06"


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedFile:
    """A file on disk under a number, with the name the sender gave it."""

    path: Path
    name: str
    """As answers repeat it: short."""
    whole_name: str
    """With all folders, for lists that only the sender reads."""

    def is_archive(self) -> bool:
        """Tell by content whether this is a zip; a DICOM file's free prefix may look like one."""
        with self.path.open("rb") as file:
            head = file.read(DICOM_PREFIX_LENGTH + 4)
        if head[DICOM_PREFIX_LENGTH:] == b"DICM":
            return False
        return head.startswith((ARCHIVE_MAGIC, EMPTY_ARCHIVE_MAGIC))


class StagingArea:
    """Numbers, counts and keeps the files of one request; not safe for several threads at once.

    Raises:
        UploadError: a limit is passed or a name is refused, before the bytes are written.
    """

    def __init__(self, folder: Path, limits: UploadLimits) -> None:
        self.limits = limits
        self.files: list[StagedFile] = []
        self._folder = folder
        self._opened = 0
        self._unpacked_bytes = 0

    def create(self, name: str) -> tuple[StagedFile, BinaryIO]:
        """Return the next file, open for writing; it belongs to the set once it is added."""
        if is_escaping(name):
            raise UploadError(
                UploadErrorCode.PATH_TRAVERSAL,
                "A file name leads outside its folder.",
                file_names=[shown_name(name)],
            )
        self._opened += 1
        path = self._folder / f"{self._opened:05d}.part"
        file = StagedFile(path=path, name=shown_name(name), whole_name=printable_name(name))
        return file, path.open("xb")

    def add(self, file: StagedFile) -> None:
        """Count a completely written file to the set."""
        self.files.append(file)

    def take_archives(self) -> list[StagedFile]:
        """Return the archives among the files; from now on they do not count as files."""
        files, self.files = self.files, []
        archives: list[StagedFile] = []
        for file in files:
            (archives if file.is_archive() else self.files).append(file)
        return archives

    def count_file(self) -> None:
        """Count one more file of the final set."""
        if len(self.files) >= self.limits.max_files:
            raise too_many_files(self.limits)

    def count_bytes(self, count: int, name: str, file_bytes: int) -> None:
        """Count bytes of the final set; `file_bytes` is the size of the named file so far."""
        self._unpacked_bytes += count
        if file_bytes > self.limits.max_file_bytes:
            raise UploadError(
                UploadErrorCode.TOO_MANY_BYTES,
                f"A file is larger than {self.limits.max_file_bytes} bytes.",
                file_names=[shown_name(name)],
                facts={"max_file_bytes": self.limits.max_file_bytes},
            )
        if self._unpacked_bytes > self.limits.max_unpacked_bytes:
            raise UploadError(
                UploadErrorCode.TOO_MANY_BYTES,
                f"The files together exceed {self.limits.max_unpacked_bytes} bytes.",
                facts={"max_unpacked_bytes": self.limits.max_unpacked_bytes},
            )


def too_many_files(limits: UploadLimits) -> UploadError:
    """Return the refusal of an upload with more files than the limit."""
    return UploadError(
        UploadErrorCode.TOO_MANY_FILES,
        f"The upload has more than {limits.max_files} files.",
        facts={"max_files": limits.max_files},
    )
