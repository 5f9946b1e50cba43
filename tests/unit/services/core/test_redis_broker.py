from collections.abc import Generator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import redis.exceptions
from kombu.transport import virtual

from services.core.queue import create_celery
from services.core.redis_broker import FreeingQoS, FreeingTransport


class FrozenChannel:
    """What a QoS needs of a channel whose server does not answer."""

    connection = SimpleNamespace(connection_errors=(redis.exceptions.TimeoutError,))
    unacked_key = "unacked"
    unacked_index_key = "unacked_index"

    @contextmanager
    def conn_or_acquire(self, _client: object = None) -> Generator[Any]:
        raise redis.exceptions.TimeoutError("Timeout reading from socket")
        yield


@pytest.fixture
def in_work() -> FreeingQoS:
    """One message, taken and not acknowledged, which is all that may be."""
    qos = FreeingQoS(FrozenChannel(), prefetch_count=1)
    qos.restore_at_shutdown = False
    virtual.QoS.append(qos, object(), "tag")
    assert not qos.can_consume()
    return qos


class TestFreeingQoS:
    def test_a_lost_acknowledgement_frees_the_worker(self, in_work: FreeingQoS) -> None:
        in_work.ack("tag")

        assert in_work.can_consume()

    def test_a_lost_rejection_frees_the_worker(self, in_work: FreeingQoS) -> None:
        in_work.reject("tag", requeue=True)

        assert in_work.can_consume()


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_addresses_of_redis_mean_this_transport(scheme: str, tmp_path) -> None:
    app = create_celery(f"{scheme}://127.0.0.1:1/0", tmp_path)

    with app.connection_for_write() as connection:
        assert connection.get_transport_cls() is FreeingTransport
