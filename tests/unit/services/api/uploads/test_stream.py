"""A body passes through memory in pieces, and what is not kept is gone."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from anyio import CancelScope, sleep_forever

from services.api.uploads.errors import UploadError
from services.api.uploads.limits import UploadLimits
from services.api.uploads.stream import COLLECTED_BYTES, Body, received_upload
from services.core.errors import StorageFullError
from services.core.storage import FilesystemStorage
from tests.factories.uploads import BOUNDARY, FORM, make_form

pytestmark = pytest.mark.anyio
LIMITS = UploadLimits(
    max_upload_bytes=1 << 24,
    max_unpacked_bytes=1 << 24,
    max_file_bytes=1 << 22,
    max_files=1000,
    max_compression_ratio=50.0,
)


class LeftError(Exception):
    """The sender left, as the web framework says it."""


def body_of(chunks: AsyncIterator[bytes], announced_bytes: int | None = None) -> Body:
    return Body(content_type=FORM, announced_bytes=announced_bytes, chunks=chunks)


async def in_chunks(content: bytes, size: int = 1 << 16) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def staged_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*.part"))


async def test_a_thousand_files_are_never_in_memory_together(tmp_path: Path) -> None:
    content = bytes(8000)
    in_memory: list[int] = []

    async def chunks() -> AsyncIterator[bytes]:
        for sent in range(1000):
            in_memory.append(sent * len(content) - staged_bytes(tmp_path))
            yield make_form({f"f{sent}": content}).removesuffix(f"--{BOUNDARY}--\r\n".encode())
        yield f"--{BOUNDARY}--\r\n".encode()

    async with received_upload(body_of(chunks()), FilesystemStorage(tmp_path), LIMITS) as upload:
        assert len(upload.unpack()) == 1000
        assert staged_bytes(tmp_path) == 1000 * len(content)
    # One piece being collected, and what the open file buffers.
    assert max(in_memory) < COLLECTED_BYTES + (1 << 17)
    assert not list((tmp_path / "incoming").iterdir())


async def test_a_sender_that_leaves_leaves_nothing(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield make_form({"a": bytes(3 * COLLECTED_BYTES)})[:-100]
        assert staged_bytes(tmp_path) > COLLECTED_BYTES
        raise LeftError

    with pytest.raises(LeftError):
        async with received_upload(body_of(chunks()), FilesystemStorage(tmp_path), LIMITS):
            pytest.fail("the body never ends")
    assert not list((tmp_path / "incoming").iterdir())


async def test_a_cancelled_request_leaves_nothing(tmp_path: Path) -> None:
    with CancelScope() as scope:

        async def chunks() -> AsyncIterator[bytes]:
            yield make_form({"a": bytes(3 * COLLECTED_BYTES)})[:-100]
            scope.cancel()
            await sleep_forever()

        async with received_upload(body_of(chunks()), FilesystemStorage(tmp_path), LIMITS):
            pytest.fail("the body never ends")
    assert scope.cancelled_caught
    assert not list((tmp_path / "incoming").iterdir())


async def test_an_announced_excess_is_refused_before_a_byte_is_read(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        pytest.fail("nothing is read")
        yield b""

    body = body_of(chunks(), announced_bytes=LIMITS.max_upload_bytes + 1)
    with pytest.raises(UploadError) as caught:
        async with received_upload(body, FilesystemStorage(tmp_path), LIMITS):
            pytest.fail("nothing is received")
    assert caught.value.code == "too_many_bytes"
    assert not (tmp_path / "incoming").exists()


async def test_an_unannounced_excess_is_refused_when_it_comes(tmp_path: Path) -> None:
    limits = replace(LIMITS, max_upload_bytes=3 * COLLECTED_BYTES)
    body = body_of(in_chunks(make_form({"a": bytes(4 * COLLECTED_BYTES)})))
    with pytest.raises(UploadError) as caught:
        async with received_upload(body, FilesystemStorage(tmp_path), limits):
            pytest.fail("the body is too large")
    assert caught.value.context == {"max_upload_bytes": 3 * COLLECTED_BYTES}
    assert not list((tmp_path / "incoming").iterdir())


async def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("services.api.uploads.receivers.MultipartReceiver.feed", fail)
    with pytest.raises(StorageFullError):
        async with received_upload(body_of(in_chunks(b"x")), FilesystemStorage(tmp_path), LIMITS):
            pytest.fail("nothing can be written")
    assert not list((tmp_path / "incoming").iterdir())
