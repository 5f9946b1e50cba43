"""What this process counts of itself: requests, bytes, refusals, and how free its event loop is."""

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.process_collector import ProcessCollector
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.core.version import software_version

REQUEST_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600)
"""From a read of one row to an upload of gigabytes over a slow line."""

LAG_BUCKETS_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
"""With the promise in them: never over 50 ms."""

LAG_PERIOD_SECONDS = 0.1
"""Between two looks at the event loop; a block of 50 ms is met every second time."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Any other is counted as one: senders choose the word."""

UPLOAD_TYPES = ("multipart/", "application/zip", "application/dicom")
"""What the Content-Type of files begins with."""

CLIENT_CLOSED_REQUEST = 499
"""Of a request whose sender left before the answer, after nginx; never sent."""


class Telemetry:
    """Counters of one process; they start from nothing with it, as scrapers expect."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        Info("cervicontour_software", "What runs.", registry=self.registry).info(
            {"version": software_version()}
        )
        self._requests = Counter(
            "cervicontour_http_requests_total",
            "Requests answered, by route template.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "cervicontour_http_request_seconds",
            "From a request's first byte to its answer's last.",
            ("method", "route"),
            buckets=REQUEST_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "cervicontour_http_requests_in_flight",
            "Requests being answered.",
            registry=self.registry,
        )
        self._uploads = Gauge(
            "cervicontour_uploads_in_flight",
            "Requests with files being received, validated or stored.",
            registry=self.registry,
        )
        self._received = Counter(
            "cervicontour_received_bytes_total",
            "Bytes of request bodies.",
            ("route",),
            registry=self.registry,
        )
        self._failed_authentications = Counter(
            "cervicontour_failed_authentications_total",
            "Requests refused for want of a valid key or token.",
            ("reason",),
            registry=self.registry,
        )
        self._lag = Histogram(
            "cervicontour_event_loop_lag_seconds",
            "How much later than asked for the event loop woke up.",
            buckets=LAG_BUCKETS_SECONDS,
            registry=self.registry,
        )

    def count_failed_authentication(self, reason: str) -> None:
        """Count a refusal; the reason is one of a handful of words, never what was sent."""
        self._failed_authentications.labels(reason).inc()

    async def watch_event_loop(self) -> None:
        """Measure until cancelled how late the event loop is."""
        while True:
            asked_at = time.perf_counter()
            await asyncio.sleep(LAG_PERIOD_SECONDS)
            self._lag.observe(max(time.perf_counter() - asked_at - LAG_PERIOD_SECONDS, 0.0))

    def request_started(self, *, is_upload: bool) -> None:
        """Note a request that came in."""
        self._in_flight.inc()
        if is_upload:
            self._uploads.inc()

    def request_ended(self, exchange: "Exchange") -> None:
        """Note how it went."""
        self._in_flight.dec()
        if exchange.is_upload:
            self._uploads.dec()
        method, route = exchange.method, exchange.route
        self._requests.labels(method, route, str(exchange.status)).inc()
        self._request_seconds.labels(method, route).observe(exchange.seconds)
        if exchange.received_bytes:
            self._received.labels(route).inc(exchange.received_bytes)


class TelemetryMiddleware:
    """Counts every request; outside of everything else, so that it sees every answer."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        self._telemetry.request_started(is_upload=exchange.is_upload)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            self._telemetry.request_ended(exchange)


class Exchange:
    """One request and its answer, as far as they are counted."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started_at = time.perf_counter()
        content_type = Headers(scope=scope).get("content-type", "").lower()
        self.is_upload = content_type.startswith(UPLOAD_TYPES)
        self.received_bytes = 0
        self.status = CLIENT_CLOSED_REQUEST

    @property
    def method(self) -> str:
        """The method, if it is one that exists."""
        sent = self._scope["method"]
        return sent if sent in METHODS else "other"

    @property
    def route(self) -> str:
        """The template of the route; known once it was found."""
        return route_template(self._scope)

    @property
    def seconds(self) -> float:
        """Time since the request came in."""
        return time.perf_counter() - self._started_at

    async def receive(self) -> Message:
        """Hand on a part of the request."""
        message = await self._receive()
        self.received_bytes += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """Hand on a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def route_template(scope: MutableMapping[str, Any]) -> str:  # Any: an ASGI scope
    """Return the template and not the path: a path may hold anything, a patient's name too."""
    return getattr(scope.get("route"), "path", "unmatched")
