import errno
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection

from services.core import folder_broker
from services.core.folder_broker import UNFINISHED_SECONDS, FolderChannel, FolderTransport
from tests.fakes import Seconds


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    options = {"folder": str(tmp_path)}
    with Connection("folder", transport=FolderTransport, transport_options=options) as connection:
        yield connection


@pytest.fixture
def channel(connection: Connection) -> FolderChannel:
    return open_channel(connection)


def open_channel(connection: Connection) -> FolderChannel:
    channel = connection.channel()
    assert isinstance(channel, FolderChannel)
    return channel


def put(channel: FolderChannel, queue: str, number: int) -> None:
    channel._put(queue, {"body": number})


def get(channel: FolderChannel, queue: str) -> int:
    return channel._get(queue)["body"]


class TestFolderChannel:
    def test_messages_come_in_the_order_they_were_sent(self, channel: FolderChannel) -> None:
        for number in range(3):
            put(channel, "inference", number)

        assert [get(channel, "inference") for _ in range(3)] == [0, 1, 2]
        with pytest.raises(Empty):
            get(channel, "inference")

    def test_queues_are_apart(self, channel: FolderChannel) -> None:
        put(channel, "inference", 1)

        with pytest.raises(Empty):
            get(channel, "training")
        assert (channel._size("inference"), channel._size("training")) == (1, 0)

    def test_a_message_being_written_is_not_seen(
        self, channel: FolderChannel, tmp_path: Path
    ) -> None:
        put(channel, "inference", 1)
        (whole,) = tmp_path.iterdir()
        whole.rename(tmp_path / f"{whole.name}.part")

        with pytest.raises(Empty):
            get(channel, "inference")

    def test_a_message_that_another_took_is_passed_over(
        self, channel: FolderChannel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(channel, "inference", 1)
        seen = channel._messages("inference")
        put(channel, "inference", 2)
        seen += channel._messages("inference")[1:]
        get(channel, "inference")
        monkeypatch.setattr(FolderChannel, "_messages", lambda *_: seen)

        assert get(channel, "inference") == 2

    def test_a_message_without_room_leaves_nothing(
        self, channel: FolderChannel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: Path, _text: str) -> None:
            path.touch()
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space"):
            put(channel, "inference", 1)

        assert list(tmp_path.iterdir()) == []

    def test_what_a_killed_process_left_is_swept(
        self, channel: FolderChannel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Seconds()
        monkeypatch.setattr(folder_broker, "monotonic", clock)
        (tmp_path / "1_x.training.msg.part").touch()

        def look(seconds: float) -> list[str]:
            clock.now += seconds
            with pytest.raises(Empty):
                get(channel, "inference")
            return sorted(path.name for path in tmp_path.iterdir())

        assert look(0) == ["1_x.training.msg.part"]
        (tmp_path / "2_x.inference.msg.part").touch()
        assert len(look(UNFINISHED_SECONDS)) == 2
        assert look(1) == ["2_x.inference.msg.part"]
        assert look(UNFINISHED_SECONDS) == []

    def test_readers_and_writers_at_once_lose_and_repeat_nothing(
        self, connection: Connection
    ) -> None:
        count = 200

        def write(number: int) -> None:
            put(open_channel(connection), "inference", number)

        def read_all(_: int) -> list[int]:
            channel, found = open_channel(connection), []
            for _attempt in range(10 * count):
                try:
                    found.append(get(channel, "inference"))
                except Empty:
                    continue
            return found

        with ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(read_all, n) for n in range(2)]
            list(pool.map(write, range(count)))
            found = [number for reader in readers for number in reader.result()]
        rest = open_channel(connection)
        found += [get(rest, "inference") for _ in range(rest._size("inference"))]

        assert sorted(found) == list(range(count))

    def test_a_queue_can_be_emptied(self, channel: FolderChannel) -> None:
        for number in range(3):
            put(channel, "inference", number)

        assert channel._purge("inference") == 3
        assert channel._size("inference") == 0
