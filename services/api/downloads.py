"""Files of storage on their way out, each under its hash so that nobody fetches one twice."""

import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import Header, Response
from fastapi.responses import FileResponse

DICOM_MEDIA_TYPE = "application/dicom"

Json = dict[str, Any]  # Any: nested json values

IfNoneMatch = Annotated[str | None, Header()]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """A file as it lies in storage."""

    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldFile:
    """A file that lies nowhere in the form in which it is given away."""

    content: bytes
    sha256: str


def held_file(content: bytes) -> HeldFile:
    """Return bytes with their hash."""
    return HeldFile(content=content, sha256=hashlib.sha256(content).hexdigest())


def stored_file(path: Path) -> StoredFile:
    """Return a file with its hash; blocks while it is read."""
    with path.open("rb") as file:
        return StoredFile(path=path, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def download(
    file: StoredFile | HeldFile, *, name: str, media_type: str, if_none_match: str | None
) -> Response:
    """Stream a file, or say that its reader has it already."""
    etag = f'"{file.sha256}"'
    if if_none_match is not None and etag in [tag.strip() for tag in if_none_match.split(",")]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag})
    if isinstance(file, HeldFile):
        attachment = {"ETag": etag, "Content-Disposition": f'attachment; filename="{name}"'}
        return Response(file.content, media_type=media_type, headers=attachment)
    return FileResponse(file.path, media_type=media_type, filename=name, headers={"ETag": etag})


def download_responses(media_type: str, description: str) -> dict[int | str, Json]:
    """Describe what download() answers."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    described = f"{description} ETag is its SHA-256."
    return {
        200: {"description": described, "content": {media_type: binary}},
        304: {"description": "The sender has it already (If-None-Match)."},
    }
