"""Server-sent events of an experiment, begun again where a stream breaks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from services.client.errors import ProblemError, ServiceUnreachableError
from services.client.models import Epoch, Experiment, Run
from services.client.transport import Transport, decoded

Change = Experiment | Run | Epoch
"""As it is now; an epoch when it ended."""

_MODELS: dict[str, type[Change]] = {"experiment": Experiment, "run": Run, "epoch": Epoch}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerEvent:
    """An event as it stands in a stream."""

    name: str
    data: str


def follow(transport: Transport, path: str) -> Iterator[Change]:
    """Yield every change once, until the service says that all is over.

    A stream begins with all there is: after a break it is asked for again and what is known is
    passed over.

    Raises:
        ProblemError: the service refused.
        ServiceUnreachableError: the stream broke again and again and brought nothing new.
    """
    told: dict[object, int] = {}
    attempt = 1
    while True:
        try:
            for event in _stream(transport, path):
                change = decoded(_MODELS[event.name], event.data, HTTPStatus.OK, path)
                if told.get(_key(change)) != hash(event.data):
                    told[_key(change)] = hash(event.data)
                    attempt = 1
                    yield change
        except _StreamBrokenError as error:
            if attempt >= transport.retries.attempts:
                raise ServiceUnreachableError(transport.base_url, str(error)) from error
        else:
            return
        transport.retries.wait(attempt)
        attempt += 1


def read_events(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Yield the events of a stream (WHATWG HTML, 9.2.6); comments and half events are dropped."""
    name, data = "message", list[str]()
    for line in _lines(chunks):
        if not line:
            if data:
                yield ServerEvent(name=name, data="\n".join(data))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)


class _StreamBrokenError(Exception):
    """A stream ended without its end."""


def _stream(transport: Transport, path: str) -> Iterator[ServerEvent]:
    """Yield the known events of one stream up to its end; raises _StreamBrokenError."""
    try:
        with transport.stream(path) as chunks:
            for event in read_events(chunks):
                if event.name == "end":
                    return
                if event.name in _MODELS:
                    yield event
    except httpx.TransportError as error:
        raise _StreamBrokenError(str(error) or type(error).__name__) from error
    except ProblemError as error:
        if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        raise _StreamBrokenError(error.detail) from error
    raise _StreamBrokenError("the stream ended early")


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    # Split at line feeds alone: json may hold characters that Python takes for ends of lines.
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")


def _key(change: Change) -> object:
    return (change.run_id, change.epoch) if isinstance(change, Epoch) else change.id
