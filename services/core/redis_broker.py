"""Celery's Redis transport, whose worker goes on when an acknowledgement does not get through.

kombu counts a message as in work until Redis took its acknowledgement. Celery logs a failed one
and drops it, so with one message at a time the worker would wait for ever: seen when Redis answers
later than the socket's timeout, for then the connection that waits for messages stays whole. Here
the worker is free all the same. Redis keeps the message and delivers it again when its visibility
timeout is over; by then its row has ended and there is nothing to do.
"""

from collections.abc import Callable
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis, virtual

from services.core.logging import get_logger

log = get_logger(__name__)

SCHEMES = ("redis", "rediss")


class FreeingQoS(redis.QoS):
    """Messages in work; one that was acknowledged is none any more, whatever Redis says."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message."""
        self._free(delivery_tag, lambda: super(FreeingQoS, self).ack(delivery_tag))

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 (kombu's signature)
        """Give a message up, or back."""
        self._free(delivery_tag, lambda: super(FreeingQoS, self).reject(delivery_tag, requeue))

    def _free(self, delivery_tag: str, tell: Callable[[], None]) -> None:
        try:
            tell()
        except self.channel.connection.connection_errors as error:
            virtual.QoS.ack(self, delivery_tag)
            log.warning("acknowledgement lost", reason=type(error).__name__)


class FreeingChannel(redis.Channel):
    """A channel with such messages."""

    QoS: Any = FreeingQoS  # Any: kombu is untyped


class FreeingTransport(redis.Transport):
    """A transport of such channels."""

    Channel: Any = FreeingChannel  # Any: kombu is untyped


def use_for_redis() -> None:
    """Have addresses of Redis mean this transport in this process."""
    for scheme in SCHEMES:
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{FreeingTransport.__name__}"
