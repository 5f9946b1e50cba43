"""A model version as one file: a zip of its weights, their card and a manifest with hashes.

Equal versions give equal bytes: members have a fixed order, no compression and no time.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml.config import RunConfig
from services.api.model_versions.errors import ModelArchiveInvalidError
from services.api.uploads.stream import Upload
from services.core.storage import CARD_NAME, WEIGHTS_NAME

MANIFEST_NAME = "manifest.json"
MEMBERS = (MANIFEST_NAME, CARD_NAME, WEIGHTS_NAME)
FORMAT = 1
CHUNK_BYTES = 1 << 20
MAX_TEXT_BYTES = 4 << 20
"""Of manifest and card, which are read whole; the packaged card has 5 KB."""
EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)

MAX_NAME_LENGTH = 58
"""An RTSTRUCT says `model <name>` in the 64 characters of Software Versions."""
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"

ModelName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH, pattern=NAME_PATTERN)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ManifestMember(BaseModel):
    """One file of the archive."""

    model_config = ConfigDict(extra="forbid")

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class Manifest(BaseModel):
    """What the archive holds."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1]
    name: ModelName
    structure_set: Annotated[str, Field(min_length=1, max_length=32)]
    card: ManifestMember
    weights: ManifestMember


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelArchive:
    """An archive whose files are those of its manifest and belong together."""

    manifest: Manifest
    config: RunConfig
    weights: Path
    card: Path


def read_archive(upload: Upload) -> ModelArchive:
    """Unpack an upload and check that it is one exported model version; blocks.

    Raises:
        UploadError: no zip, a hostile one, or one beyond the limits.
        ModelArchiveInvalidError: anything else but what an export gives.
    """
    if len(upload.staging.files) != 1:
        raise ModelArchiveInvalidError("send one zip", files=len(upload.staging.files))
    files = upload.unpack()
    names = sorted(file.name for file in files)
    if names != sorted(MEMBERS):
        raise ModelArchiveInvalidError("other members than an export has", members=names)
    paths = {file.name: file.path for file in files}
    manifest = _read_manifest(paths[MANIFEST_NAME])
    _check_member(WEIGHTS_NAME, paths[WEIGHTS_NAME], manifest.weights)
    _check_member(CARD_NAME, paths[CARD_NAME], manifest.card)
    return ModelArchive(
        manifest=manifest,
        config=_read_card(paths[CARD_NAME], manifest),
        weights=paths[WEIGHTS_NAME],
        card=paths[CARD_NAME],
    )


def describe(name: str, structure_set: str, folder: Path) -> Manifest:
    """Return the manifest of weights and card in a folder; blocks while they are read."""
    return Manifest(
        format=FORMAT,
        name=name,
        structure_set=structure_set,
        card=_member(folder / CARD_NAME),
        weights=_member(folder / WEIGHTS_NAME),
    )


def stream_archive(manifest: Manifest, folder: Path) -> Iterator[bytes]:
    """Yield the zip piece by piece; nothing of it is kept."""
    pipe = _Pipe()
    text = manifest.model_dump_json(indent=2).encode() + b"\n"
    with zipfile.ZipFile(pipe, "w") as archive:
        with archive.open(_entry(MANIFEST_NAME, len(text)), "w") as target:
            target.write(text)
        for name, member in ((CARD_NAME, manifest.card), (WEIGHTS_NAME, manifest.weights)):
            with (
                archive.open(_entry(name, member.bytes), "w") as target,
                (folder / name).open("rb") as source,
            ):
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
                    yield pipe.take()
    yield pipe.take()


class _Pipe:
    """Where a zip is written that cannot be gone back in."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Return; nothing waits anywhere."""

    def close(self) -> None:
        """Return; what was written stays to be taken."""

    def take(self) -> bytes:
        """Return what was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EARLIEST_ZIP_TIME)
    entry.create_system = 3  # Unix, wherever it is written
    entry.external_attr = 0o644 << 16
    entry.file_size = size
    return entry


def _member(path: Path) -> ManifestMember:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ManifestMember(sha256=digest, bytes=path.stat().st_size)


def _check_member(name: str, path: Path, expected: ManifestMember) -> None:
    if _member(path) != expected:
        raise ModelArchiveInvalidError("a file is not the one of the manifest", member=name)


def _read_manifest(path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(_read_text(path, MANIFEST_NAME))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelArchiveInvalidError(
            "the manifest does not fit", field=where, problem=first["msg"]
        ) from error


def _read_card(path: Path, manifest: Manifest) -> RunConfig:
    try:
        card: Any = json.loads(_read_text(path, CARD_NAME))  # Any: json
        kept = json.dumps(card, ensure_ascii=False)
        kept.encode()  # fails for text that no database takes
        if not isinstance(card, dict) or "\\u0000" in kept:
            raise ModelArchiveInvalidError("the card is no card")
        values = cast("dict[str, Any]", card)
        weights_sha256: Any = values["weights_sha256"]
        config = RunConfig.from_dict(values["run_config"])
    except (ValueError, KeyError, RecursionError, OverflowError) as error:
        raise ModelArchiveInvalidError("the card cannot be read", problem=str(error)) from error
    if weights_sha256 != manifest.weights.sha256:
        raise ModelArchiveInvalidError("the card is of other weights")
    if config.structure_set != manifest.structure_set:
        raise ModelArchiveInvalidError("card and manifest name different structures")
    return config


def _read_text(path: Path, name: str) -> str:
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise ModelArchiveInvalidError("a text is too long", member=name, max_bytes=MAX_TEXT_BYTES)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelArchiveInvalidError("a text is not UTF-8", member=name) from error
