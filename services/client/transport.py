"""Requests and their answers: repeated where that doubles nothing, errors as exceptions."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import BaseModel, ValidationError

from services.client.errors import (
    DownloadDamagedError,
    ProblemError,
    ServiceUnreachableError,
    UnexpectedAnswerError,
)
from services.client.uploads import OnBytes, UploadBody, counted

Json = dict[str, Any]  # Any: nested json values
Answer = TypeVar("Answer")
Model = TypeVar("Model", bound=BaseModel)

UPLOAD_READ_SECONDS = 900.0
"""For the answer to an upload: the service looks through all of it before it answers."""
PAGE_SIZE = 200
"""Items a request of a list; the most that the service gives."""
_SHA256_ETAG = re.compile(r'"([0-9a-f]{64})"')


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often a request is sent, and how long is waited in between.

    A request is sent again when the connection broke or the service said 503 or 429 with
    Retry-After.
    """

    attempts: int = 4
    first_delay_seconds: float = 0.5
    """Doubled from one attempt to the next, where the service names no time."""
    longest_delay_seconds: float = 30.0
    """Whatever the service names."""
    sleep: Callable[[float], None] = time.sleep

    def wait(self, attempt: int, retry_after: str | None = None) -> None:
        """Sleep before the attempt behind the given one, which counts from 1."""
        delay = self.first_delay_seconds * 2 ** (attempt - 1)
        if retry_after is not None and retry_after.isdecimal():
            delay = float(retry_after)
        self.sleep(min(delay, self.longest_delay_seconds))


def path_to(*parts: object) -> str:
    """Return the path of a resource, whatever stands in its parts."""
    return "".join(f"/{quote(str(part), safe='')}" for part in ("v1", *parts))


class Transport:
    """Speaks json with the service, and carries files both ways."""

    def __init__(self, http: httpx.Client, retries: RetryPolicy) -> None:
        self._http = http
        self.retries = retries

    @property
    def base_url(self) -> str:
        """Where the service is."""
        return str(self._http.base_url).rstrip("/")

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def get(
        self, path: str, model: type[Model], params: Mapping[str, object] | None = None
    ) -> Model:
        """Return what lies at a path.

        Raises:
            ProblemError: the service refused.
            ServiceUnreachableError: no answer, however often it was asked.
            UnexpectedAnswerError: an answer that is not this service's.
        """
        request = _Request.of("GET", path, params=params)
        return self._send(request, lambda response: parsed(response, model))

    def find_state(self, path: str, model: type[Model]) -> Model:
        """Return what lies at a path, be it 200 or 503, asked for once; raises as get()."""
        try:
            with self._open(_Request.of("GET", path)) as response:
                if response.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                    check_succeeded(response)
                return _decoded(response, model)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def post(
        self,
        path: str,
        model: type[Model],
        body: Json | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Model:
        """Send json under an Idempotency-Key of its own; raises as get()."""
        request = _Request.of("POST", path, params=params, json=body)
        return self._send(request, lambda response: parsed(response, model))

    def put(self, path: str, model: type[Model], body: Json) -> Model:
        """Replace what lies at a path; raises as get()."""
        request = _Request.of("PUT", path, json=body)
        return self._send(request, lambda response: parsed(response, model))

    def upload(
        self,
        path: str,
        model: type[Model],
        body: UploadBody,
        params: Mapping[str, object] | None = None,
        on_bytes: OnBytes | None = None,
    ) -> Model:
        """Send files under an Idempotency-Key of their own; raises as get().

        Raises:
            UploadFilesError: a file became shorter.
        """
        request = _Request.of("POST", path, params=params, files=body, on_bytes=on_bytes)
        return self._send(request, lambda response: parsed(response, model))

    def download(self, path: str, target: Path) -> Path:
        """Write what lies at a path to a file, whole or not at all; raises as get().

        Raises:
            DownloadDamagedError: it is not what the service announced in its ETag.
        """
        part = target.with_name(f".{target.name}.{uuid4().hex}.part")

        def write(response: httpx.Response) -> None:
            check_succeeded(response)
            _write(response, part)

        try:
            # compressed on the way it would be another representation, with another ETag
            self._send(_Request.of("GET", path, headers={"Accept-Encoding": "identity"}), write)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def pages(
        self, path: str, model: type[Model], params: Mapping[str, object] | None = None
    ) -> Iterator[Model]:
        """Yield every item of a list, page by page as they are asked for; raises as get()."""
        cursor: str | int | None = None
        while True:
            wanted = {"limit": PAGE_SIZE, **(params or {}), "cursor": cursor}
            page = self.get(path, _Page, wanted)
            for item in page.items:
                yield validated(model, item, HTTPStatus.OK, path)
            cursor = page.next_cursor
            if cursor is None:
                return

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[bytes]]:
        """Give the bytes of an answer as they come; errors of the connection are httpx's own.

        Raises:
            ProblemError: the service refused.
        """
        with self._open(_Request.of("GET", path)) as response:
            check_succeeded(response)
            yield response.iter_bytes()

    def _send(self, request: "_Request", read: Callable[[httpx.Response], Answer]) -> Answer:
        attempt = 1
        while True:
            retry_after: str | None = None
            try:
                with self._open(request) as response:
                    retry_after = _retry_after(response)
                    if retry_after is None or attempt >= self.retries.attempts:
                        return read(response)
            except httpx.TransportError as error:
                if attempt >= self.retries.attempts:
                    raise self._unreachable(error) from error
            self.retries.wait(attempt, retry_after)
            attempt += 1

    @contextmanager
    def _open(self, request: "_Request") -> Iterator[httpx.Response]:
        response = self._http.send(request.build(self._http), stream=True)
        try:
            yield response
        finally:
            response.close()

    def _unreachable(self, error: httpx.TransportError) -> ServiceUnreachableError:
        return ServiceUnreachableError(self.base_url, str(error) or type(error).__name__)


class _Page(BaseModel):
    items: list[Json]
    next_cursor: str | int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    """A request that may be sent several times; its key stays the same."""

    method: str
    path: str
    params: Mapping[str, object]
    headers: Mapping[str, str]
    json: Json | None
    files: UploadBody | None
    on_bytes: OnBytes | None

    @classmethod
    def of(cls, method: str, path: str, **values: Any) -> Self:  # noqa: ANN401  # Any: the fields
        """Fill in what a request lacks."""
        params = {k: v for k, v in (values.pop("params", None) or {}).items() if v is not None}
        headers = {"Accept": "application/json, application/problem+json, */*"}
        if method == "POST":
            headers["Idempotency-Key"] = uuid4().hex
        headers |= values.pop("headers", {})
        defaults = {"json": None, "files": None, "on_bytes": None}
        return cls(method=method, path=path, params=params, headers=headers, **defaults | values)

    def build(self, http: httpx.Client) -> httpx.Request:
        """Return the request as it is sent once, its body at the beginning."""
        headers = dict(self.headers)
        content = None
        timeout = httpx.Timeout(http.timeout)
        if self.files is not None:
            headers["Content-Type"] = self.files.content_type
            headers["Content-Length"] = str(self.files.byte_count)
            content = counted(self.files, self.on_bytes)
            timeout.read = max(UPLOAD_READ_SECONDS, timeout.read or UPLOAD_READ_SECONDS)
        return http.build_request(
            self.method,
            self.path,
            params={name: _texts(value) for name, value in self.params.items()},
            headers=headers,
            json=self.json,
            content=content,
            timeout=timeout,
        )


def parsed(response: httpx.Response, model: type[Model]) -> Model:
    """Return an answer as a model.

    Raises:
        ProblemError: the service refused.
        UnexpectedAnswerError: an answer that is not this service's.
    """
    check_succeeded(response)
    return _decoded(response, model)


def decoded(model: type[Model], text: str | bytes, status: int, path: str) -> Model:
    """Return json text as a model; raises UnexpectedAnswerError."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UnexpectedAnswerError(status, path, "no json") from error
    return validated(model, values, status, path)


def validated(model: type[Model], values: object, status: int, path: str) -> Model:
    """Return json as a model; raises UnexpectedAnswerError."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where or 'the answer'} is not as expected ({first['msg']})"
        raise UnexpectedAnswerError(status, path, reason) from error


def check_succeeded(response: httpx.Response) -> None:
    """Return if the answer is a success.

    Raises:
        ProblemError: the service refused.
        UnexpectedAnswerError: something else answered.
    """
    if response.is_success:
        return
    path = response.request.url.path
    try:
        values = json.loads(response.read())
    except ValueError:
        values = None
    if not isinstance(values, dict) or not isinstance(values.get("code"), str):
        raise UnexpectedAnswerError(response.status_code, path, "no problem details")
    raise ProblemError(
        values["code"],
        status=response.status_code,
        detail=str(values.get("detail", "")),
        context=values.get("context") or {},
        correlation_id=str(values.get("correlation_id", "")),
    )


def _decoded(response: httpx.Response, model: type[Model]) -> Model:
    return decoded(model, response.read(), response.status_code, response.request.url.path)


def _retry_after(response: httpx.Response) -> str | None:
    """Return what a 503 or 429 says of when to come again."""
    if response.status_code not in (
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.TOO_MANY_REQUESTS,
    ):
        return None
    return response.headers.get("Retry-After")


def _write(response: httpx.Response, part: Path) -> None:
    digest = hashlib.sha256()
    with part.open("wb") as file:
        for piece in response.iter_bytes():
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    announced = _SHA256_ETAG.fullmatch(response.headers.get("ETag", ""))
    if announced is not None and announced[1] != digest.hexdigest():
        raise DownloadDamagedError(response.request.url.path)


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
