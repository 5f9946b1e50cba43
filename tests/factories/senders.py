"""Senders that say what no HTTP client would, byte by byte."""

import json
import select
import socket
import time
from typing import Any, Self
from urllib.parse import urlsplit

from tests.waiting import PATIENCE_SECONDS, POLL_SECONDS, turns


class Answer:
    """One answer as it came."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.json: dict[str, Any] = json.loads(body)


class Sender:
    """A connection that sends what a client would not."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        address = (parts.hostname or "", parts.port or 0)
        self._socket = socket.create_connection(address, PATIENCE_SECONDS)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, *pieces: bytes, pause: float = 0.0) -> Self:
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(pause)
            self._socket.sendall(piece)
        return self

    def drip(self, piece: bytes) -> None:
        """Send a piece again and again until something comes back, or the connection ends."""
        for _ in turns():
            if select.select([self._socket], [], [], POLL_SECONDS)[0]:
                return
            try:
                self._socket.sendall(piece)
            except ConnectionError:
                return
        raise AssertionError("nothing ever came back")

    def send_until_reset(self, piece: bytes) -> None:
        """Send a piece again and again until the server has left altogether."""
        for _ in turns():
            try:
                self._socket.sendall(piece)
            except ConnectionError:
                return
            time.sleep(POLL_SECONDS)
        raise AssertionError("the server never left")

    def line(self) -> bytes:
        return self._file.readline()

    def answer(self) -> Answer:
        status = int(self.line().split()[1])
        headers: dict[str, str] = {}
        while (line := self.line()) != b"\r\n":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return Answer(status, headers, self._file.read(int(headers["content-length"])))

    def is_at_its_end(self) -> bool:
        """Tell whether the server hung up and said nothing more."""
        try:
            return self._file.read() == b""
        except ConnectionResetError:  # there were bytes that nobody read
            return True
