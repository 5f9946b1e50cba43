"""A Celery broker in a folder, one file a message, for the embedded stack.

kombu's own filesystem transport shows messages while they are being written: a worker that reads
one then dies of a JSONDecodeError (seen in our integration tests), and its bindings, kept in
files, have the same race. Here a message appears by a rename and is taken by its removal, so that
a process killed at any moment leaves no half of one in sight, and what it leaves is swept. Bindings
stay in memory: every process declares the same few queues.
"""

from collections.abc import Mapping
from pathlib import Path
from queue import Empty
from time import monotonic, time_ns
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from kombu import Connection
from kombu.transport import virtual
from kombu.utils.json import dumps, loads

POLLING_SECONDS = 0.2
"""How often a worker looks into the folder for messages."""

UNFINISHED = ".part"
UNFINISHED_SECONDS = 60.0
"""A message is written in a moment: one seen unfinished for so long is of a killed process."""


class FolderChannel(virtual.Channel):
    """Queues as files <time>_<uuid>.<queue>.msg; the oldest is next."""

    _unfinished: Mapping[Path, float] = MappingProxyType({})
    """When each unfinished message was first seen by this channel."""

    @property
    def _folder(self) -> Path:
        client: Any = self.connection.client  # Any: kombu's connection is untyped
        return Path(client.transport_options["folder"])

    def _put(self, queue: str, message: dict[str, Any], **_options: object) -> None:  # Any: kombu's
        name = f"{time_ns():020d}_{uuid4()}.{queue}.msg"
        unfinished = self._folder / f"{name}{UNFINISHED}"
        try:
            unfinished.write_text(dumps(message))
            unfinished.rename(self._folder / name)
        except OSError:  # a full disk, as a rule: half a message helps nobody
            unfinished.unlink(missing_ok=True)
            raise

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:  # noqa: ARG002 (kombu's signature)
        for path in self._messages(queue):
            try:
                text = path.read_text()
                path.unlink()  # whoever removes it has it
            except FileNotFoundError:  # another worker was faster
                continue
            return loads(text)
        self._sweep()
        raise Empty

    def _purge(self, queue: str) -> int:
        messages = self._messages(queue)
        for path in messages:
            path.unlink(missing_ok=True)
        return len(messages)

    def _size(self, queue: str) -> int:
        return len(self._messages(queue))

    def _sweep(self) -> None:
        """Remove what killed processes left of messages, however the clocks are set."""
        now = monotonic()
        parts = self._folder.glob(f"*{UNFINISHED}")
        self._unfinished = {path: self._unfinished.get(path, now) for path in parts}
        for path, seen_at in self._unfinished.items():
            if now - seen_at > UNFINISHED_SECONDS:
                path.unlink(missing_ok=True)  # another worker may sweep, too

    def _messages(self, queue: str) -> list[Path]:
        return sorted(self._folder.glob(f"*.{queue}.msg"))


class FolderTransport(virtual.Transport):
    """Transport of such channels; Celery finds it by name (broker_transport)."""

    Channel = FolderChannel
    default_port = 0
    driver_type = "folder"
    driver_name = "folder"

    def drain_events(self, connection: Connection, timeout: float | None = None) -> None:
        """Deliver messages, or raise TimeoutError soon: a worker looks for its end in between.

        Celery asks to wait for two seconds. A worker told to stop meanwhile took another message.
        """
        wait = POLLING_SECONDS if timeout is None else min(timeout, POLLING_SECONDS)
        super().drain_events(connection, timeout=wait)
