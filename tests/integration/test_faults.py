"""Whatever goes wrong under load: nothing accepted is lost or doubled, nothing refused stays.

Every fault happens to real processes on both pairs while senders keep submitting.
`make chaos` has them happen at random, hundreds of them in a row.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from random import Random

import pytest

from tests.chaos.audit import settle_and_audit
from tests.chaos.disks import NoDiskError, small_disk
from tests.chaos.faults import FAULTS, Fault, dripping
from tests.chaos.load import Load, Submission, new_submission
from tests.chaos.stack import Stack, wait_until
from tests.integration.deployment import Mode
from tests.integration.own_servers import ServersMissingError
from tests.integration.servers import REQUIRE_VARIABLE

DISK_MEBIBYTES = 64
SECONDS_INSIDE = 0.3


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """One stack for all faults of a pair, on a disk of its own where that is allowed."""
    with ExitStack() as cleanup:
        disk = None
        with suppress(NoDiskError):
            disk = cleanup.enter_context(small_disk(DISK_MEBIBYTES))
        try:
            stack = cleanup.enter_context(Stack(request.param, data_dir=disk))
        except ServersMissingError as error:
            if os.environ.get(REQUIRE_VARIABLE) == "1":
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield stack


@pytest.fixture(scope="module")
def submissions(stack: Stack) -> list[Submission]:
    """Everything that was ever sent to the stack: each audit looks at all of it."""
    return []


@contextmanager
def reviving(stack: Stack) -> Iterator[None]:
    """Leave a whole stack to the next fault, even where this one did not end as it should."""
    try:
        yield
    finally:
        stack.revive()


# Apart: in one list with the stack, every fault would be a module's as well, and have a new stack.
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("stack", list(Mode), indirect=True, scope="module")
def test_nothing_is_lost_or_doubled(
    stack: Stack, submissions: list[Submission], fault: Fault
) -> None:
    if fault.mode not in (None, stack.mode):
        pytest.skip("this pair has nothing that it could happen to")
    if not fault.can_happen_to(stack):
        pytest.skip("mounting a disk is not allowed here; a full one is simulated in other cases")
    load = Load(stack.base_url, headers=stack.headers)
    try:
        with load:
            with reviving(stack), fault.happen(stack, Random(fault.name)):
                time.sleep(SECONDS_INSIDE)
            before = len(load.accepted)
            wait_until(lambda: len(load.accepted) > before, "uploads are accepted again")
    finally:
        submissions += load.submissions

    tally = settle_and_audit(stack, submissions)

    assert tally.is_clean, str(tally)
    assert set(tally.states) == {"succeeded"}, str(tally)


@pytest.mark.parametrize("stack", list(Mode), indirect=True, scope="module")
def test_a_sender_that_stops_is_told_and_leaves_nothing(
    stack: Stack, submissions: list[Submission]
) -> None:
    with dripping(stack, new_submission(1)) as connection:
        answer = connection.recv(1 << 16).decode()

    assert answer.startswith("HTTP/1.1 408 ")
    tally = settle_and_audit(stack, submissions)
    assert tally.is_clean, str(tally)
