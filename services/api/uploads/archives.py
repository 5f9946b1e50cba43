"""Zips, unpacked member by member within limits."""

import io
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from services.api.uploads.errors import UploadError, UploadErrorCode
from services.api.uploads.limits import UploadLimits
from services.api.uploads.names import is_escaping, shown_name
from services.api.uploads.staging import StagedFile, StagingArea, too_many_files

CHUNK_BYTES = 1 << 20
RATIO_FLOOR_BYTES = 64 << 20
"""A compression ratio is judged from here on: air around a small phantom compresses without
limit and hurts nobody."""
DIRECTORY_BYTES_PER_FILE = 512
"""Room for one entry of a zip's directory; zipfile reads the whole directory into memory."""
PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What every zip tool writes. The others let an archive choose how much memory its reader needs."""


def unpack_archive(archive: StagedFile, staging: StagingArea) -> None:
    """Write every file of the archive into the staging area and delete the archive.

    An archive inside the archive stays packed: it is a file like any other.

    Raises:
        UploadError: the archive is broken, hostile or larger than the limits.
    """
    try:
        _unpack(archive, staging)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _refusal(
            UploadErrorCode.DAMAGED_ARCHIVE, "The zip is damaged or cut short.", archive.name
        ) from error
    archive.path.unlink()


def _unpack(archive: StagedFile, staging: StagingArea) -> None:
    unpacking = _Unpacking(
        archive=archive, packed_bytes=archive.path.stat().st_size, staging=staging
    )
    with (
        _BoundedDirectoryFile(archive.path, staging.limits) as raw,
        zipfile.ZipFile(raw) as opened,
    ):
        members = [member for member in opened.infolist() if not member.is_dir()]
        if len(members) > staging.limits.max_files:
            raise too_many_files(staging.limits)
        for member in members:
            _check_member(member)
        for member in members:
            unpacking.unpack(opened, member)


def _check_member(member: zipfile.ZipInfo) -> None:
    if member.flag_bits & 0x1:
        raise _refusal(
            UploadErrorCode.ENCRYPTED_ARCHIVE, "The zip is encrypted.", member.orig_filename
        )
    if is_escaping(member.orig_filename) or stat.S_ISLNK(member.external_attr >> 16):
        raise _refusal(
            UploadErrorCode.PATH_TRAVERSAL,
            "A zip member is a link or its name leads outside the archive.",
            member.orig_filename,
        )
    if member.compress_type not in PLAIN_METHODS:
        raise _refusal(
            UploadErrorCode.UNSUPPORTED_ARCHIVE,
            "A zip member is neither stored nor deflated.",
            member.orig_filename,
        )


@dataclass(kw_only=True, slots=True)
class _Unpacking:
    """One archive on its way into the staging area."""

    archive: StagedFile
    packed_bytes: int
    staging: StagingArea
    unpacked_bytes: int = 0

    def unpack(self, opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
        name = member.orig_filename
        self.staging.count_file()
        member_bytes = 0
        file, target = self.staging.create(name)
        with target, opened.open(member) as source:
            while chunk := source.read(CHUNK_BYTES):
                member_bytes += len(chunk)
                self._count(len(chunk))
                self.staging.count_bytes(len(chunk), name, member_bytes)
                target.write(chunk)
        self.staging.add(file)

    def _count(self, count: int) -> None:
        limits = self.staging.limits
        self.unpacked_bytes += count
        floor = min(RATIO_FLOOR_BYTES, limits.max_file_bytes, limits.max_unpacked_bytes)
        ratio = self.unpacked_bytes / self.packed_bytes
        if self.unpacked_bytes > floor and ratio > limits.max_compression_ratio:
            raise _refusal(
                UploadErrorCode.ZIP_BOMB,
                "The zip unpacks to far more bytes than a CT series could.",
                self.archive.name,
            )


class _BoundedDirectoryFile(io.FileIO):
    """An archive whose directory cannot fill the memory: zipfile reads it in one piece."""

    def __init__(self, path: Path, limits: UploadLimits) -> None:
        super().__init__(path, "rb")
        self._limits = limits
        self._max_read_bytes = CHUNK_BYTES + limits.max_files * DIRECTORY_BYTES_PER_FILE

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, refusing a piece that only a directory of too many files needs."""
        if size is not None and size > self._max_read_bytes:
            raise too_many_files(self._limits)
        return super().read(size)


def _refusal(code: UploadErrorCode, message: str, name: str) -> UploadError:
    return UploadError(code, message, file_names=[shown_name(name)])
