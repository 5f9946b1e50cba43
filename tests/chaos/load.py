"""Senders that keep submitting, keep asking until they have an answer, and note every one."""

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

import httpx

from tests.factories.uploads import FORM, encode, make_form, make_slice, make_zip

SLICES = 3
SIZE = 32
UID_ROOT = "1.2.826.0.1.3680043.8.498.77"

ANSWER_SECONDS = 120.0
"""Longer than the service works on a request: what it has in hand belongs to nobody yet, and the
audit would take it for left behind."""
RETRY_SECONDS = 0.25
LAST_ANSWER_SECONDS = 240.0
"""Until the last submission has its answer; an API that never gives one must end the test."""
ASK_AGAIN = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INSUFFICIENT_STORAGE,
}
"""Refusals that say nothing about the upload, besides those of the server's own making."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back: a status with its problem code, or how the connection broke."""

    what: str
    at: float


@dataclass(kw_only=True, slots=True, eq=False)
class Submission:
    """One series with its key and everything that was answered to it."""

    series_uid: str
    is_sound: bool
    """False: the service must refuse it."""
    key: str = field(default_factory=lambda: uuid4().hex)
    sent_at: float = field(default_factory=time.monotonic)
    """For the first time."""
    answers: list[Answer] = field(default_factory=list[Answer])
    job_id: UUID | None = None
    """Of the 2xx, if there was one."""
    refusal: str | None = None
    """Problem code of the final refusal."""

    def body(self, *, zipped: bool = True) -> tuple[bytes, str]:
        """Return the upload and its Content-Type."""
        files: dict[str, bytes] = {}
        for number in range(1, (SLICES if self.is_sound else 1) + 1):
            dataset = make_slice(number, SIZE)
            dataset.SeriesInstanceUID = self.series_uid
            files[f"{number}.dcm"] = encode(dataset)
        if zipped:
            return make_zip(files), "application/zip"
        return make_form(files), FORM


def new_submission(number: int) -> Submission:
    """Every ninth is one that must be refused."""
    uid = f"{UID_ROOT}.{uuid4().int >> 64}.{number}"
    return Submission(series_uid=uid, is_sound=number % 9 != 0)


class Load:
    """`with Load(address) as load:` keeps submitting; afterwards all have their answer."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        senders: int = 2,
        pause_seconds: float = 0.5,
        by_allowance: bool = False,
    ) -> None:
        """Describe the load.

        Args:
            base_url: of the API.
            headers: of every request, such as credentials.
            senders: requests at a time.
            pause_seconds: of a sender behind an answer.
            by_allowance: submit only as many as allow() says.
        """
        self.submissions: list[Submission] = []
        self._base_url = base_url
        self._headers = dict(headers)
        self._pause = pause_seconds
        self._lock = threading.Lock()
        self._allowance = threading.Semaphore(0) if by_allowance else None
        self._stopped = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(senders)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(LAST_ANSWER_SECONDS)
        if self._errors:
            raise self._errors[0]
        waiting = [submission.answers for submission in self.unanswered]
        assert not any(thread.is_alive() for thread in self._threads), waiting

    def allow(self, count: int) -> None:
        """Let so many more submissions begin."""
        assert self._allowance is not None
        self._allowance.release(count)

    @property
    def accepted(self) -> list[Submission]:
        return [s for s in list(self.submissions) if s.job_id is not None]

    @property
    def unanswered(self) -> list[Submission]:
        return [s for s in list(self.submissions) if s.job_id is None and s.refusal is None]

    @property
    def longest_without_acceptance(self) -> float:
        """Seconds in which somebody waited to be accepted and nobody was."""
        accepted = sorted(self.accepted, key=lambda submission: submission.answers[-1].at)
        longest, first_waiting = 0.0, math.inf
        for submission, before in zip(reversed(accepted), [*accepted[-2::-1], None], strict=False):
            first_waiting = min(first_waiting, submission.sent_at)
            begin = max(first_waiting, before.answers[-1].at) if before else first_waiting
            longest = max(longest, submission.answers[-1].at - begin)
        return longest

    def _send(self) -> None:
        try:
            with httpx.Client(
                base_url=self._base_url,
                headers=self._headers,
                timeout=ANSWER_SECONDS,
                trust_env=False,
            ) as client:
                while not self._stopped.is_set():
                    if self._is_allowed():
                        self._submit(client)
                        self._stopped.wait(self._pause)
        except BaseException as error:  # noqa: BLE001 (raised again where the block ends)
            self._errors.append(error)

    def _is_allowed(self) -> bool:
        return self._allowance is None or self._allowance.acquire(timeout=0.1)

    def _submit(self, client: httpx.Client) -> None:
        with self._lock:
            submission = new_submission(len(self.submissions) + 1)
            self.submissions.append(submission)
            zipped = len(self.submissions) % 2 == 0
        body, content_type = submission.body(zipped=zipped)
        headers = {"Content-Type": content_type, "Idempotency-Key": submission.key}
        while not self._is_answered(client, submission, body, headers):
            time.sleep(RETRY_SECONDS)

    def _is_answered(
        self, client: httpx.Client, submission: Submission, body: bytes, headers: dict[str, str]
    ) -> bool:
        try:
            response = client.post("/v1/autocontour", content=body, headers=headers)
        except httpx.TransportError as error:
            submission.answers.append(Answer(what=type(error).__name__, at=time.monotonic()))
            return False
        note(submission, response)
        return response.is_success or not should_ask_again(response)


def note(submission: Submission, response: httpx.Response) -> None:
    """Write an answer down."""
    what = str(response.status_code)
    if response.is_success:
        submission.job_id = UUID(response.json()["job"]["id"])
    else:
        code = response.json().get("code", "") if response.content else ""
        what = f"{what} {code}"
        if not should_ask_again(response):
            submission.refusal = code
    submission.answers.append(Answer(what=what, at=time.monotonic()))


def should_ask_again(response: httpx.Response) -> bool:
    return response.is_server_error or response.status_code in ASK_AGAIN
