"""Stand-ins with the real signatures."""

import datetime as dt
from pathlib import Path
from uuid import UUID

from services.core.errors import QueueUnavailableError, StorageUnavailableError
from services.core.queue import Message
from services.core.storage import FilesystemStorage


class FakeJobQueue:
    """A JobQueue that keeps its messages; while `is_down` it takes none."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.is_down = False

    def send(self, message: Message) -> None:
        self.check()
        self.messages.append(message)

    def check(self) -> None:
        if self.is_down:
            raise QueueUnavailableError("the broker does not answer", reason="down")

    @property
    def resource_ids(self) -> list[UUID]:
        return [message.resource_id for message in self.messages]


class FullStorage(FilesystemStorage):
    """A storage on which nothing can be published any more."""

    def publish_series(self, folder: Path, series_id: UUID) -> None:
        raise StorageUnavailableError("the storage cannot be used (ENOSPC)", reason="ENOSPC")

    def publish_result(self, folder: Path, job_id: UUID) -> None:
        raise StorageUnavailableError("the storage cannot be used (ENOSPC)", reason="ENOSPC")


class Clock:
    """A Now that stands still until a test moves it."""

    def __init__(self, now: dt.datetime) -> None:
        self._now = now

    def __call__(self) -> dt.datetime:
        return self._now

    def advance(self, **by: float) -> None:
        self._now += dt.timedelta(**by)
