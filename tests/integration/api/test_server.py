"""The API as a real server process, with a real worker behind it."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import UUID

import httpx
import pytest

from services.core.lifecycle import JobState
from tests.factories.uploads import BOUNDARY, FORM, encode, make_form, make_slice
from tests.integration.deployment import SIZE, Deployment, wait_until

MAX_UPLOAD_BYTES = 32 << 20


def make_ct(count: int) -> dict[str, bytes]:
    return {f"IM{n}": encode(make_slice(n, SIZE)) for n in range(1, count + 1)}


def post(client: httpx.Client, count: int, **headers: str) -> httpx.Response:
    return client.post(
        "/v1/autocontour",
        content=make_form(make_ct(count)),
        headers={"Content-Type": FORM, **headers},
    )


@pytest.fixture(scope="module")
def client(deployment: Deployment) -> Iterator[httpx.Client]:
    with deployment.serve(CERVICONTOUR_MAX_UPLOAD_BYTES=str(MAX_UPLOAD_BYTES)) as client:
        yield client


def is_ready(client: httpx.Client) -> bool:
    """Tell whether the API is ready and sees this worker: it believes in dead ones for a while."""
    answer = client.get("/health/ready")
    loaded = {w["name"] for w in answer.json()["workers"] if w["weights_loaded"]}
    told = (answer.status_code, answer.json()["status"])
    return told == (200, "ready") and "inference@api" in loaded


def incoming_bytes(deployment: Deployment) -> int:
    sizes: list[int] = []
    for path in (deployment.root / "incoming").rglob("*.part"):
        with suppress(FileNotFoundError):  # it got its name meanwhile
            sizes.append(path.stat().st_size)
    return sum(sizes)


def has_incoming(deployment: Deployment) -> bool:
    folder = deployment.root / "incoming"
    return folder.exists() and any(folder.iterdir())


def test_a_series_comes_back_as_an_rtstruct(deployment: Deployment, client: httpx.Client) -> None:
    made = post(client, 3)
    assert made.status_code == 202
    worker = deployment.start_worker("api")
    try:
        wait_until(lambda: is_ready(client))
        job = deployment.wait_for(UUID(made.json()["job"]["id"]), JobState.SUCCEEDED)
    finally:
        worker.stop(10)
    shown = client.get(made.headers["Location"]).json()
    assert shown["correlation_id"] == made.headers["X-Correlation-ID"] == job.correlation_id
    rtstruct = client.get(shown["links"]["rtstruct"])
    assert rtstruct.headers["Content-Type"] == "application/dicom"
    assert rtstruct.content[128:132] == b"DICM"


def test_one_key_at_the_same_moment_makes_one_job(client: httpx.Client) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda _: post(client, 4, **{"Idempotency-Key": "together"}), range(6))
        )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job"]["id"] for answer in answers}) == 1
    assert len({answer.json()["series"]["id"] for answer in answers}) == 1
    series_id = answers[0].json()["series"]["id"]
    jobs = client.get("/v1/contour-jobs", params={"series_id": series_id}).json()["items"]
    assert len(jobs) == 1
    client.post(jobs[0]["links"]["cancel"])


def test_a_sender_that_hangs_up_leaves_nothing(
    deployment: Deployment, client: httpx.Client
) -> None:
    body = make_form({"a": bytes(8 << 20)})
    head = (
        f"POST /v1/series HTTP/1.1\r\nHost: api\r\nContent-Type: {FORM}\r\n"
        f"Authorization: {client.headers['Authorization']}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as sender:
        sender.sendall(head.encode() + body[: 6 << 20])
        wait_until(lambda: incoming_bytes(deployment) > 4 << 20)
    wait_until(lambda: not has_incoming(deployment))


@pytest.mark.parametrize("is_announced", [True, False])
def test_the_refusal_of_too_many_bytes_reaches_its_sender(
    deployment: Deployment, client: httpx.Client, *, is_announced: bool
) -> None:
    def chunks() -> Iterator[bytes]:
        yield make_form({"a": b""}).removesuffix(f"\r\n--{BOUNDARY}--\r\n".encode())
        for _ in range(48):
            yield bytes(1 << 20)

    content = bytes(MAX_UPLOAD_BYTES + 1) if is_announced else chunks()
    response = client.post("/v1/series", content=content, headers={"Content-Type": FORM})
    assert (response.status_code, response.json()["code"]) == (413, "too_many_bytes")
    wait_until(lambda: not has_incoming(deployment))
