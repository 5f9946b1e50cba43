"""Gives up on senders that stop sending without leaving, or never come to an end."""

from collections.abc import AsyncIterator

from anyio import current_time, move_on_after

from services.api.uploads.errors import UploadError, UploadErrorCode
from services.api.uploads.limits import UploadLimits


async def paced(chunks: AsyncIterator[bytes], limits: UploadLimits) -> AsyncIterator[bytes]:
    """Pass chunks on while they come often enough and not for too long.

    A host that lost its power closes no connection: without this its request, the connection and
    the staged files would stay for ever.

    Raises:
        UploadError: nothing came for too long, or the whole takes too long.
    """
    ends_at = current_time() + limits.most_seconds
    iterator = aiter(chunks)
    while True:
        came: bytes | None = None
        with move_on_after(min(limits.idle_seconds, ends_at - current_time())) as waiting:
            came = await anext(iterator, None)
        if waiting.cancelled_caught:
            raise UploadError(
                UploadErrorCode.UPLOAD_STALLED,
                f"Nothing came for {limits.idle_seconds:g} s, or all of it took longer than "
                f"{limits.most_seconds:g} s.",
                facts={"idle_seconds": limits.idle_seconds, "most_seconds": limits.most_seconds},
            )
        if came is None:
            return
        yield came
