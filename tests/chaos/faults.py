"""What can go wrong, each as `with fault.happen(stack, random):` - wrong inside, healed after.

Inside the block the fault is there; where it is a moment, it has just happened.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from random import Random
from uuid import uuid4

import sqlalchemy as sa

from services.core.lifecycle import ACTIVE_STATES
from services.core.queue import SOCKET_TIMEOUT_SECONDS
from tests.chaos.controls import TAKES_NO_MORE, Point, Switch
from tests.chaos.disks import filled
from tests.chaos.load import Submission, new_submission
from tests.chaos.stack import WORKERS, Stack, wait_until
from tests.integration.deployment import Mode
from tests.integration.own_servers import Postgres, Redis
from tests.integration.processes import freeze, is_alive, thaw

STARTED = '"job started"'
"""What a worker says of every start."""
ANSWER_SECONDS = 60.0
"""For the API to answer a sender that it gave up."""
MOST_HOURS = 12.0
"""The clock stays this near to the truth."""

Happening = Callable[[Stack, Random], AbstractContextManager[None]]


class PromiseBrokenError(AssertionError):
    """The service did what it must not do, and no row or file tells of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing that can go wrong."""

    name: str
    happen: Happening
    mode: Mode | None = None
    """The only pair it can happen to."""
    needs_disk: bool = False
    """The storage must lie on a small disk of its own."""

    def can_happen_to(self, stack: Stack) -> bool:
        return self.mode in (None, stack.mode) and (stack.has_own_disk or not self.needs_disk)


@contextmanager
def held(stack: Stack, point: Point) -> Generator[int]:
    """Yield the process that came to a point and is held there."""
    stack.controls.hold_at(point)
    try:
        wait_until(lambda: stack.controls.held_at(point), f"held {point}", stack.arrival_seconds)
        yield stack.controls.held_at(point)[0]
    finally:
        stack.controls.let_go(point)


def kill_api_at(point: Point) -> Happening:
    @contextmanager
    def happen(stack: Stack, random: Random) -> Generator[None]:
        with held(stack, point):
            stack.kill("api")
        yield
        stack.revive()

    return happen


@contextmanager
def kill_api_while_it_receives(stack: Stack, random: Random) -> Generator[None]:
    with dripping(stack, new_submission(1)):
        stack.kill("api")
        yield
    stack.revive()


@contextmanager
def stop_api_while_it_receives(stack: Stack, random: Random) -> Generator[None]:
    """SIGTERM: what was begun is answered before it ends."""
    with dripping(stack, new_submission(1)):
        stack.terminate("api")
    wait_until(lambda: not stack.is_running("api"), "the API ended")
    yield
    stack.revive()


def kill_worker_at(point: Point) -> Happening:
    """Kill a whole worker, its parent alone, or its child alone, as an OOM killer may choose."""

    @contextmanager
    def happen(stack: Stack, random: Random) -> Generator[None]:
        with held(stack, point) as pid:
            name = stack.worker_of(pid)
            match random.choice(["all", "parent", "child"]):
                case "all":
                    stack.kill(name)
                case "parent":
                    os.kill(stack.pid(name), signal.SIGKILL)
                case _:
                    os.kill(pid, signal.SIGKILL)
        yield
        stack.revive()

    return happen


@contextmanager
def kill_parent(stack: Stack, random: Random) -> Generator[None]:
    """The child of a worker must not go on without it."""
    name = random.choice(WORKERS)
    left_alone = stack.child_pids(name)
    os.kill(stack.pid(name), signal.SIGKILL)
    yield
    wait_until(lambda: not any(is_alive(pid) for pid in left_alone), "the children ended")
    stack.revive()


@contextmanager
def stop_worker_in_a_job(stack: Stack, random: Random) -> Generator[None]:
    """SIGTERM: the job in hand ends, no other begins."""
    with held(stack, Point.CONTOURING) as pid:
        name = stack.worker_of(pid)
        known = count(stack, name, TAKES_NO_MORE)
        stack.terminate(name)
        wait_until(lambda: count(stack, name, TAKES_NO_MORE) > known, "the worker knows of it")
        started = count(stack, name, STARTED)
    wait_until(lambda: not stack.is_running(name), "the worker ended")
    if count(stack, name, STARTED) != started:
        raise PromiseBrokenError(f"{name} was told to stop and began another job")
    yield
    stack.revive()


def count(stack: Stack, name: str, words: str) -> int:
    """Count how often a process said so."""
    return stack.log(name).read_text().count(words)


@contextmanager
def freeze_worker(stack: Stack, random: Random) -> Generator[None]:
    """A worker silent for longer than its lease, that then goes on."""
    with ExitStack() as cleanup:
        with held(stack, Point.WRITING) as pid:
            group = stack.pid(stack.worker_of(pid))
            cleanup.callback(thaw, group)
            freeze(group, stack.engine)
        time.sleep(stack.lease_seconds + 1)
        yield


@contextmanager
def kill_redis(stack: Stack, random: Random) -> Generator[None]:
    yield from _killed_server(stack, stack.redis)


@contextmanager
def kill_postgres(stack: Stack, random: Random) -> Generator[None]:
    yield from _killed_server(stack, stack.postgres)


def _killed_server(stack: Stack, server: Postgres | Redis | None) -> Generator[None]:
    assert server is not None
    stack.kill_server(server)
    try:
        yield
    finally:
        stack.start_server(server)


@contextmanager
def freeze_redis(stack: Stack, random: Random) -> Generator[None]:
    """Redis answers nobody, just as a worker is about to acknowledge a message."""
    assert stack.redis is not None
    with held(stack, Point.ENDING):
        os.killpg(stack.redis.child.pid, signal.SIGSTOP)
    try:
        yield
        time.sleep(SOCKET_TIMEOUT_SECONDS + 0.5)
    finally:
        os.killpg(stack.redis.child.pid, signal.SIGCONT)


@contextmanager
def lock_sqlite(stack: Stack, random: Random) -> Generator[None]:
    """Another process writes for a long time."""
    with stack.engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))  # its transaction begins as a writer's
        yield


@contextmanager
def lose_messages(stack: Stack, random: Random) -> Generator[None]:
    """FLUSHALL, or an empty folder."""
    stack.lose_all_messages()
    yield


@contextmanager
def double_messages(stack: Stack, random: Random) -> Generator[None]:
    """Both workers get every message, some of them several times."""
    with stack.new_unit_of_work() as uow:
        jobs = [job for state in ACTIVE_STATES for job in uow.contour_jobs.page(20, state=state)]
    for _ in range(3):
        for job in jobs:
            stack.ring(job.id)
    yield


def turn_on(switch: Switch) -> Happening:
    @contextmanager
    def happen(stack: Stack, random: Random) -> Generator[None]:
        stack.controls.turn_on(switch)
        try:
            yield
        finally:
            stack.controls.turn_off(switch)

    return happen


@contextmanager
def fill_disk(stack: Stack, random: Random) -> Generator[None]:
    with filled(stack.data_dir):
        yield


def move_clock(direction: int) -> Happening:
    """Set the clock of the service hours forward or back, for good."""

    @contextmanager
    def happen(stack: Stack, random: Random) -> Generator[None]:
        moved = stack.controls.clock_offset + direction * random.uniform(1, 6) * 3600
        limit = MOST_HOURS * 3600
        stack.controls.set_clock(max(-limit, min(limit, moved)))
        yield

    return happen


@contextmanager
def vanish_while_sending(stack: Stack, random: Random) -> Generator[None]:
    """A sender that drips and is then cut off."""
    with dripping(stack, new_submission(1), seconds=0.5):
        yield


@contextmanager
def dripping(
    stack: Stack, submission: Submission, seconds: float = 0.2
) -> Generator[socket.socket]:
    """A request of which some bytes came, and which ends with the connection.

    After a pause the service may have refused it already, and takes no more bytes.
    """
    body, content_type = submission.body(zipped=False)
    head = (
        f"POST /v1/autocontour HTTP/1.1\r\nHost: chaos\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nIdempotency-Key: {uuid4().hex}\r\n"
    )
    head += "".join(f"{name}: {value}\r\n" for name, value in stack.headers.items())
    wait_until(stack.takes_connections, "the API takes connections")
    with socket.create_connection(("127.0.0.1", stack.port), timeout=ANSWER_SECONDS) as connection:
        connection.sendall(head.encode() + b"\r\n")
        steps = 10
        with suppress(OSError):
            for step in range(steps):
                connection.sendall(body[step * 100 : step * 100 + 100])
                time.sleep(seconds / steps)
        yield connection
        with suppress(OSError):  # the other side may be gone
            connection.shutdown(socket.SHUT_RDWR)


FAULTS = (
    Fault(name="api-killed-while-receiving", happen=kill_api_while_it_receives),
    Fault(name="api-killed-before-its-commit", happen=kill_api_at(Point.PUBLISHING)),
    Fault(name="api-killed-before-its-answer", happen=kill_api_at(Point.ANSWERING)),
    Fault(name="api-stopped-while-receiving", happen=stop_api_while_it_receives),
    *(
        Fault(name=f"worker-killed-while-{point}", happen=kill_worker_at(point))
        for point in Point
        if point not in (Point.PUBLISHING, Point.ANSWERING)
    ),
    Fault(name="worker-parent-killed", happen=kill_parent),
    Fault(name="worker-stopped-in-a-job", happen=stop_worker_in_a_job),
    Fault(name="worker-frozen-past-its-lease", happen=freeze_worker),
    Fault(name="redis-killed", happen=kill_redis, mode=Mode.SERVERS),
    Fault(name="redis-frozen", happen=freeze_redis, mode=Mode.SERVERS),
    Fault(name="postgres-killed", happen=kill_postgres, mode=Mode.SERVERS),
    Fault(name="sqlite-locked", happen=lock_sqlite, mode=Mode.EMBEDDED),
    Fault(name="messages-lost", happen=lose_messages),
    Fault(name="messages-doubled", happen=double_messages),
    Fault(name="disk-full-for-uploads", happen=turn_on(Switch.API_FULL)),
    Fault(name="disk-full-for-results", happen=turn_on(Switch.WORKER_FULL)),
    Fault(name="disk-full", happen=fill_disk, needs_disk=True),
    Fault(name="storage-unreadable-to-workers", happen=turn_on(Switch.WORKER_UNREADABLE)),
    Fault(name="storage-unreadable-to-the-api", happen=turn_on(Switch.API_UNREADABLE)),
    Fault(name="clock-forward", happen=move_clock(1)),
    Fault(name="clock-back", happen=move_clock(-1)),
    Fault(name="sender-vanished", happen=vanish_while_sending),
)
"""Every fault by its name."""
