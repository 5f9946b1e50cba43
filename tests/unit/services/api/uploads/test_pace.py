"""Senders that stop without leaving."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from anyio import sleep, sleep_forever

from services.api.uploads.errors import UploadError
from services.api.uploads.limits import UploadLimits
from services.api.uploads.pace import paced
from services.api.uploads.stream import Body, received_upload
from services.core.storage import FilesystemStorage
from tests.factories.uploads import FORM, make_form

pytestmark = pytest.mark.anyio
LIMITS = UploadLimits(
    max_upload_bytes=1 << 24,
    max_unpacked_bytes=1 << 24,
    max_file_bytes=1 << 22,
    max_files=1000,
    max_compression_ratio=50.0,
    idle_seconds=60,
)
SHORT = replace(LIMITS, idle_seconds=0.05)


async def test_what_comes_in_time_passes() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        await sleep(0.01)
        yield b"b"

    assert [chunk async for chunk in paced(chunks(), LIMITS)] == [b"a", b"b"]


async def test_a_sender_that_stops_is_given_up_and_leaves_nothing(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield make_form({"a": bytes(100)})[:-100]
        await sleep_forever()

    body = Body(content_type=FORM, announced_bytes=None, chunks=chunks())
    with pytest.raises(UploadError) as caught:
        async with received_upload(body, FilesystemStorage(tmp_path), SHORT):
            pytest.fail("the body never ends")

    assert caught.value.code == "upload_stalled"
    assert not list((tmp_path / "incoming").iterdir())


async def test_a_sender_that_drips_for_ever_is_given_up() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            await sleep(0.01)
            yield b"a"

    with pytest.raises(UploadError) as caught:
        _ = [chunk async for chunk in paced(chunks(), replace(LIMITS, most_seconds=0.1))]

    assert caught.value.code == "upload_stalled"
