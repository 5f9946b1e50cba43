"""A sender that costs the machine as little as it can, and notes how long every answer took."""

import http.client
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from tests.factories.access import bearer
from tests.factories.uploads import FORM

TIMEOUT_SECONDS = 300.0
IDLE_SECONDS = 0.5
"""A connection that was not used for longer may be closed by its server at any moment."""
DICOM = "application/dicom"
ZIP = "application/zip"

__all__ = ["DICOM", "FORM", "ZIP", "Answers", "Client", "RefusedError"]


class RefusedError(Exception):
    """An answer that was not hoped for.

    Attributes:
        status: of the answer.
    """

    def __init__(self, route: str, status: int, body: bytes) -> None:
        super().__init__(f"{route} answered {status}: {body[:500].decode(errors='replace')}")
        self.status = status


class Answers:
    """Seconds until the last byte of every answer, by route; for several threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._lock = threading.Lock()

    def note(self, route: str, seconds: float) -> None:
        """Add one."""
        with self._lock:
            self.seconds[route].append(seconds)


class Client:
    """One connection, kept open; for one thread.

    Args:
        base_url: of the service, or of another.
        key: that the service knows.
        answers: where to note what every answer took.
    """

    def __init__(
        self, base_url: str, key: str | None = None, answers: Answers | None = None
    ) -> None:
        self._host = urlsplit(base_url).netloc
        self._answers = answers
        self._connection = http.client.HTTPConnection(self._host, timeout=TIMEOUT_SECONDS)
        self._headers = {} if key is None else bearer(key)
        self._used_at = time.monotonic()

    def get(self, path: str, route: str | None = None) -> bytes:
        """Return the body of a successful answer."""
        return self._request("GET", path, route, None, {})

    def get_json(self, path: str, route: str | None = None) -> Any:  # noqa: ANN401  (json)
        """Return what an answer holds."""
        return json.loads(self.get(path, route))

    def post_json(self, path: str, content: object) -> Any:  # noqa: ANN401  (json)
        """Post a value and return what the answer holds."""
        return json.loads(self.post(path, json.dumps(content).encode(), "application/json"))

    def post(
        self, path: str, body: bytes | Iterable[bytes], kind: str, length: int | None = None
    ) -> bytes:
        """Post bytes and return the body of a successful answer.

        Args:
            path: where to.
            body: whole, or in pieces whose length must be given.
            kind: the Content-Type.
            length: of all pieces.
        """
        headers = {"Content-Type": kind}
        if length is not None:
            headers["Content-Length"] = str(length)
        return self._request("POST", path, None, body, headers)

    def delete(self, path: str, route: str) -> None:
        """Delete a resource."""
        self._request("DELETE", path, route, None, {})

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _request(
        self,
        method: str,
        path: str,
        route: str | None,
        body: bytes | Iterable[bytes] | None,
        headers: dict[str, str],
    ) -> bytes:
        shown = f"{method} {route or path}"
        if time.monotonic() - self._used_at > IDLE_SECONDS:
            self._connection.close()  # the next request opens it again
        start = time.perf_counter()
        self._connection.request(method, path, body, headers | self._headers)
        response = self._connection.getresponse()
        content = response.read()
        seconds = time.perf_counter() - start
        self._used_at = time.monotonic()
        if response.status >= http.client.BAD_REQUEST:
            raise RefusedError(shown, response.status, content)
        if self._answers is not None:
            self._answers.note(shown, seconds)
        return content
