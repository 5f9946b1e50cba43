"""Zips, unpacked member by member within limits."""

import errno
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
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
LOCAL_HEADER_BYTES = 30
"""Of a member, at least, before its name and content."""
DIRECTORY_SIGNATURE = b"PK\x01\x02"

SPLIT_MARK_BYTES = 4
"""Before the first member of an archive that was to be split and fitted in one (APPNOTE 8.5.5)."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OverflowError, ValueError, struct.error)
"""What zipfile was seen to raise; names that are not the UTF-8 they claim to be are ValueErrors."""


def unpack_archive(archive: StagedFile, staging: StagingArea) -> None:
    """Write every file of the archive into the staging area and delete the archive.

    An archive inside the archive stays packed: it is a file like any other.

    Raises:
        UploadError: the archive is broken, hostile or larger than the limits.
    """
    try:
        _unpack(archive, staging)
    except _DAMAGE as error:
        raise _refusal(
            UploadErrorCode.DAMAGED_ARCHIVE, "The zip is damaged or cut short.", archive.name
        ) from error
    except NotImplementedError as error:
        raise _refusal(
            UploadErrorCode.UNSUPPORTED_ARCHIVE,
            "The zip needs a newer program than this to be unpacked.",
            archive.name,
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
        for member in opened.infolist():
            _check_member(member)
        _check_places(members, archive)
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
    if member.is_dir() and member.file_size:
        raise zipfile.BadZipFile("a folder has content, which would be lost")
    if member.compress_type not in PLAIN_METHODS:
        raise _refusal(
            UploadErrorCode.UNSUPPORTED_ARCHIVE,
            "A zip member is neither stored nor deflated.",
            member.orig_filename,
        )


def _check_places(members: Sequence[zipfile.ZipInfo], archive: StagedFile) -> None:
    """Refuse members that share bytes: a few of them unpack to as much as anyone likes.

    Also an archive behind another one, of which the directory knows nothing.
    """
    end = 0
    in_order = sorted(members, key=lambda member: member.header_offset)
    if in_order and in_order[0].header_offset > SPLIT_MARK_BYTES:
        raise _refusal(
            UploadErrorCode.DAMAGED_ARCHIVE, "Something lies before the zip.", archive.name
        )
    for member in in_order:
        if member.header_offset < end:
            raise _refusal(
                UploadErrorCode.DAMAGED_ARCHIVE, "Members of the zip overlap.", archive.name
            )
        end = member.header_offset + LOCAL_HEADER_BYTES + member.compress_size


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
        if member_bytes != member.file_size:
            raise zipfile.BadZipFile("a member has another size than the directory says")
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


class _PlaceBeforeStartError(zipfile.BadZipFile, OSError):
    """Damage, unless zipfile looks there itself: for it the OSError of a short zip is an answer."""


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
        data = super().read(size)
        if size is not None and size > CHUNK_BYTES:
            # Only a directory is read in such pieces; zipfile makes an object of every entry.
            entries = data.count(DIRECTORY_SIGNATURE)
            if entries > 2 * self._limits.max_files:  # folders are entries, too
                raise too_many_files(self._limits)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Seek; a place before the start, which only a damaged archive names, is no disk error."""
        try:
            return super().seek(offset, whence)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise _PlaceBeforeStartError from error


def _refusal(code: UploadErrorCode, message: str, name: str) -> UploadError:
    return UploadError(code, message, file_names=[shown_name(name)])
