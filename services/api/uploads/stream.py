"""Receives a request body into a folder: never whole in memory, never blocking the event loop."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from anyio import CancelScope, to_thread

from services.api.uploads.archives import unpack_archive
from services.api.uploads.errors import UploadError, UploadErrorCode
from services.api.uploads.limits import UploadLimits
from services.api.uploads.pace import paced
from services.api.uploads.receivers import (
    Receiver,
    empty_upload,
    new_file_receiver,
    new_receiver,
)
from services.api.uploads.staging import StagedFile, StagingArea
from services.core.disk import disk_errors
from services.core.storage import Storage

COLLECTED_BYTES = 1 << 20
"""Bytes collected before a worker thread parses and writes them: a hop to a thread costs about
as much as 64 KiB take to write."""

ReceiverFor = Callable[[str, StagingArea], Receiver]
"""Chooses by the Content-Type."""

FORM_BYTES = 64 << 10
"""Room for what a form puts around its one file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """A request body as it arrives."""

    content_type: str
    announced_bytes: int | None
    """Content-Length, where the sender gave one."""
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """Everything one request sent, lying in a folder that is removed after the request."""

    folder: Path
    staging: StagingArea
    byte_count: int
    """Bytes of the request body."""

    def unpack(self) -> list[StagedFile]:
        """Unpack the archives and return every file; blocks.

        Raises:
            UploadError: an archive is refused, a limit is passed or no file is left.
        """
        with disk_errors():
            archives = self.staging.take_archives()
            for file in self.staging.files:
                _check_is_no_broken_archive(file)
                size = file.path.stat().st_size
                self.staging.count_bytes(size, file.name, size)
            for archive in archives:
                unpack_archive(archive, self.staging)
        if not self.staging.files:
            raise empty_upload()
        return self.staging.files


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceivedFile:
    """One file that a request sent, lying in a folder that is removed after the request."""

    folder: Path
    path: Path
    byte_count: int


@asynccontextmanager
async def received_upload(
    body: Body,
    storage: Storage,
    limits: UploadLimits,
    receiver_for: ReceiverFor = new_receiver,
) -> AsyncGenerator[Upload]:
    """Receive a body; what the block does not publish is gone when it ends, however it ends.

    receiver_for: of a CT series unless told otherwise.

    Raises:
        UploadError: the body is refused.
    """
    if body.announced_bytes is not None and body.announced_bytes > limits.max_upload_bytes:
        raise _too_large(limits)
    context = storage.staging()
    folder = await to_thread.run_sync(context.__enter__)
    try:
        staging = StagingArea(folder, limits)
        byte_count = await _receive(body, staging, receiver_for)
        yield Upload(folder=folder, staging=staging, byte_count=byte_count)
    finally:
        with CancelScope(shield=True):  # a cancelled request cleans up, too
            await to_thread.run_sync(partial(context.__exit__, None, None, None))


@asynccontextmanager
async def received_file(
    body: Body, storage: Storage, limits: UploadLimits
) -> AsyncGenerator[ReceivedFile]:
    """Receive a body that is one DICOM file, as it is or in a form; archives stay packed.

    Raises:
        UploadError: the body is refused.
    """
    room = min(limits.max_upload_bytes, limits.max_file_bytes + FORM_BYTES)
    limits = replace(limits, max_files=1, max_upload_bytes=room)
    async with received_upload(body, storage, limits, new_file_receiver) as upload:
        (file,) = upload.staging.files
        size = file.path.stat().st_size
        upload.staging.count_bytes(size, file.name, size)
        yield ReceivedFile(folder=upload.folder, path=file.path, byte_count=size)


async def _receive(body: Body, staging: StagingArea, receiver_for: ReceiverFor) -> int:
    """Write the body into the staging area and return how many bytes it had."""
    received = 0
    with disk_errors():
        receiver = await to_thread.run_sync(receiver_for, body.content_type, staging)
        try:
            async for pieces in _collected(body.chunks, staging.limits):
                received += sum(map(len, pieces))
                await to_thread.run_sync(_feed, receiver, pieces)
            await to_thread.run_sync(receiver.finish)
        finally:
            receiver.close()
    return received


def _feed(receiver: Receiver, pieces: list[bytes]) -> None:
    for piece in pieces:
        receiver.feed(piece)


async def _collected(
    chunks: AsyncIterator[bytes], limits: UploadLimits
) -> AsyncIterator[list[bytes]]:
    received = waiting = 0
    pieces: list[bytes] = []
    async for chunk in paced(chunks, limits):
        received += len(chunk)
        if received > limits.max_upload_bytes:
            raise _too_large(limits)
        pieces.append(chunk)
        waiting += len(chunk)
        if waiting >= COLLECTED_BYTES:
            yield pieces
            pieces, waiting = [], 0
    if pieces:
        yield pieces


def _check_is_no_broken_archive(file: StagedFile) -> None:
    # Left to the DICOM rules it would count as a skipped file, and its sender miss a whole CT.
    if file.name.lower().endswith(".zip"):
        raise UploadError(
            UploadErrorCode.NOT_A_ZIP, "A file called .zip is no zip.", file_names=[file.name]
        )


def _too_large(limits: UploadLimits) -> UploadError:
    return UploadError(
        UploadErrorCode.TOO_MANY_BYTES,
        f"The request body exceeds {limits.max_upload_bytes} bytes.",
        facts={"max_upload_bytes": limits.max_upload_bytes},
    )
