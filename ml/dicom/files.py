"""What senders put into an upload, and which of it may be DICOM."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima"})
"""Endings that promise DICOM: such a file is refused when it cannot be read, never skipped."""

SYSTEM_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})

MAGIC_OFFSET = 128
MAGIC = b"DICM"

TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b")
"""Control characters that do occur in text files."""

HEAD_BYTES = 4096
"""Enough to tell text from anything else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One received file."""

    path: Path
    name: str
    """As the sender called it, with the folders of an archive."""


class SkipReason(StrEnum):
    """Why a file takes no part in a series."""

    DICOMDIR = "dicomdir"
    NOT_AN_IMAGE = "dicom_without_image"
    """Structure sets, plans, doses, reports: DICOM, but no picture of the patient."""
    NOT_DICOM = "not_dicom"
    SYSTEM_FILE = "system_file"


@dataclass(frozen=True, kw_only=True, slots=True)
class SkippedFile:
    """A file that was left out, and why."""

    name: str
    reason: SkipReason


def list_source_files(folder: Path) -> list[SourceFile]:
    """Return every regular file below a folder, named by its relative path, in order of name."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    files = [SourceFile(path=path, name=path.relative_to(folder).as_posix()) for path in paths]
    return sorted(files, key=lambda file: file.name)


def find_skip_reason(source: SourceFile) -> SkipReason | None:
    """Tell from name and first bytes why a file is clearly no DICOM; None if it may be DICOM."""
    name = PurePosixPath(source.name.replace("\\", "/"))
    if _is_system_file(name):
        return SkipReason.SYSTEM_FILE
    with source.path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if head[MAGIC_OFFSET : MAGIC_OFFSET + len(MAGIC)] == MAGIC:
        return None
    if name.name.upper() == "DICOMDIR":
        return SkipReason.DICOMDIR
    if name.suffix.lower() in DICOM_SUFFIXES or _starts_like_dataset(head):
        return None
    is_bare = name.suffix in ("", ".") or name.suffix[1:].isdigit()  # IM0001, 1.2.840.113619.2
    if is_bare and not (head and _is_text(head)):
        return None
    return SkipReason.NOT_DICOM


def _is_system_file(name: PurePosixPath) -> bool:
    base = name.name.lower()
    return "__MACOSX" in name.parts or base.startswith("._") or base in SYSTEM_NAMES


def _starts_like_dataset(head: bytes) -> bool:
    """Tell whether a file without preamble begins with an element of group 0002 or 0008."""
    return len(head) > 8 and head[0] in (2, 8) and head[1] == 0 and head[3] == 0


def _is_text(head: bytes) -> bool:
    return all(byte >= 32 or byte in TEXT_CONTROLS for byte in head)
