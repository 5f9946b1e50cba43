"""Requests are repeated where that doubles nothing, and what arrives is whole or an error."""

import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import BaseModel

from services.client.client import CerviContourClient
from services.client.errors import (
    DownloadDamagedError,
    ProblemError,
    ServiceUnreachableError,
    UnexpectedAnswerError,
)
from services.client.transport import RetryPolicy, Transport, path_to
from services.client.uploads import FileBody
from tests.factories.servers import HANG_UP, Scripted, ScriptedServer


class Thing(BaseModel):
    number: int


PROBLEM = {
    "code": "series_not_found",
    "detail": "there is no series 1",
    "context": {"series_id": "1"},
    "correlation_id": "abc12345",
}
THING = Scripted(body=b'{"number": 7}')
BUSY = Scripted(status=503, headers={"Retry-After": "5"}, body=json.dumps(PROBLEM).encode())


@contextmanager
def speaking(url: str, retries: RetryPolicy) -> Iterator[Transport]:
    with httpx.Client(base_url=url, trust_env=False, timeout=120) as http:
        yield Transport(http, retries)


class TestRepeating:
    @pytest.mark.parametrize("fault", [HANG_UP, BUSY, Scripted(missing_bytes=9)])
    def test_a_post_is_sent_again_under_the_same_key(
        self, fault: Scripted, retries: RetryPolicy
    ) -> None:
        with ScriptedServer(fault, fault, THING) as server, speaking(server.url, retries) as http:
            assert http.post("/v1/things", Thing, {"a": 1}).number == 7

        keys = [seen.headers["Idempotency-Key"] for seen in server.seen]
        assert len(keys) == 3
        assert len(set(keys)) == 1
        assert [json.loads(seen.body) for seen in server.seen] == 3 * [{"a": 1}]

    def test_two_posts_have_two_keys(self, retries: RetryPolicy) -> None:
        with ScriptedServer(THING) as server, speaking(server.url, retries) as http:
            http.post("/v1/things", Thing)
            http.post("/v1/things", Thing)

        assert len({seen.headers["Idempotency-Key"] for seen in server.seen}) == 2

    def test_an_upload_is_sent_again_from_its_beginning(
        self, retries: RetryPolicy, tmp_path: Path
    ) -> None:
        path = tmp_path / "ct.zip"
        path.write_bytes(b"0123456789")
        told: list[tuple[int, int]] = []
        with ScriptedServer(HANG_UP, THING) as server, speaking(server.url, retries) as http:
            http.upload(
                "/v1/series",
                Thing,
                FileBody(path, "application/zip"),
                on_bytes=lambda sent, total: told.append((sent, total)),
            )

        assert [seen.body for seen in server.seen] == 2 * [b"0123456789"]
        assert [seen.headers["Content-Length"] for seen in server.seen] == ["10", "10"]
        assert {seen.headers["Content-Type"] for seen in server.seen} == {"application/zip"}
        assert len({seen.headers["Idempotency-Key"] for seen in server.seen}) == 1
        assert told == [(10, 10), (10, 10)]

    def test_the_service_says_how_long_to_wait(
        self, retries: RetryPolicy, delays: list[float]
    ) -> None:
        with ScriptedServer(BUSY, BUSY, THING) as server, speaking(server.url, retries) as http:
            http.get("/v1/things", Thing)

        assert delays == [5.0, 5.0]

    def test_no_service_is_waited_for_without_bounds(
        self, retries: RetryPolicy, delays: list[float]
    ) -> None:
        for_a_day = Scripted(status=503, headers={"Retry-After": "86400"}, body=b"{}")
        with ScriptedServer(for_a_day, THING) as server, speaking(server.url, retries) as http:
            http.get("/v1/things", Thing)

        assert delays == [retries.longest_delay_seconds]

    def test_broken_connections_are_waited_for_twice_as_long_each_time(
        self, retries: RetryPolicy, delays: list[float]
    ) -> None:
        with (
            ScriptedServer(HANG_UP) as server,
            speaking(server.url, retries) as http,
            pytest.raises(ServiceUnreachableError, match=server.url),
        ):
            http.get("/v1/things", Thing)

        assert len(server.seen) == 4
        assert delays == [0.5, 1.0, 2.0]

    def test_a_service_that_stays_busy_is_given_up_with_its_own_words(
        self, retries: RetryPolicy
    ) -> None:
        with (
            ScriptedServer(BUSY) as server,
            speaking(server.url, retries) as http,
            pytest.raises(ProblemError) as caught,
        ):
            http.get("/v1/things", Thing)

        assert caught.value.status == 503
        assert len(server.seen) == 4

    @pytest.mark.parametrize("status", [503, 500, 409, 404])
    def test_refusals_are_not_repeated(self, status: int, retries: RetryPolicy) -> None:
        refusal = Scripted(status=status, body=json.dumps(PROBLEM).encode())
        with (
            ScriptedServer(refusal) as server,
            speaking(server.url, retries) as http,
            pytest.raises(ProblemError),
        ):
            http.get("/v1/things", Thing)

        assert len(server.seen) == 1

    def test_a_port_where_nobody_listens_is_unreachable(self, retries: RetryPolicy) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            with speaking(url, retries) as http, pytest.raises(ServiceUnreachableError) as caught:
                http.get("/v1/things", Thing)

        assert caught.value.code == "service_unreachable"


class TestErrors:
    def test_problem_details_become_an_exception_with_their_facts(
        self, retries: RetryPolicy
    ) -> None:
        refusal = Scripted(status=404, body=json.dumps(PROBLEM).encode())
        with (
            ScriptedServer(refusal) as server,
            speaking(server.url, retries) as http,
            pytest.raises(ProblemError) as caught,
        ):
            http.get("/v1/things", Thing)

        error = caught.value
        assert (error.code, error.status, error.detail) == (
            "series_not_found",
            404,
            "there is no series 1",
        )
        assert (error.context, error.correlation_id) == ({"series_id": "1"}, "abc12345")
        assert str(error) == error.detail

    @pytest.mark.parametrize(
        "answer",
        [
            Scripted(status=502, body=b"<html>Bad Gateway</html>"),
            Scripted(status=404, body=b'{"message": "no such page"}'),
            Scripted(status=302, headers={"Location": "/login"}, body=b""),
            Scripted(body=b"<html>Welcome</html>"),
            Scripted(body=b"\xff\xfe"),
            Scripted(body=b'{"number": "seven"}'),
            Scripted(body=b"[]"),
        ],
    )
    def test_what_is_not_this_service_is_told_apart(
        self, answer: Scripted, retries: RetryPolicy
    ) -> None:
        with (
            ScriptedServer(answer) as server,
            speaking(server.url, retries) as http,
            pytest.raises(UnexpectedAnswerError, match="/v1/things") as caught,
        ):
            http.get("/v1/things", Thing)

        assert (caught.value.code, caught.value.status) == ("unexpected_answer", answer.status)


class TestPages:
    def test_pages_are_fetched_one_after_the_other_as_they_are_needed(
        self, retries: RetryPolicy
    ) -> None:
        pages = [
            Scripted(body=b'{"items": [{"number": 1}, {"number": 2}], "next_cursor": "a b"}'),
            Scripted(body=b'{"items": [{"number": 3}], "next_cursor": 9}'),
            Scripted(body=b'{"items": [], "next_cursor": null}'),
        ]
        with ScriptedServer(*pages) as server, speaking(server.url, retries) as http:
            things = http.pages("/v1/things", Thing, {"state": "queued", "kind": None})
            assert next(things).number == 1
            assert len(server.seen) == 1
            assert [thing.number for thing in things] == [2, 3]

        first = "/v1/things?limit=200&state=queued"
        assert [seen.path for seen in server.seen] == [
            first,
            f"{first}&cursor=a+b",
            f"{first}&cursor=9",
        ]

    def test_a_list_of_values_is_named_once_for_each(self, retries: RetryPolicy) -> None:
        with ScriptedServer(THING) as server, speaking(server.url, retries) as http:
            http.get("/v1/things", Thing, {"group_by": ["month", "reviewer"]})

        assert server.seen[0].path == "/v1/things?group_by=month&group_by=reviewer"


class TestDownloads:
    CONTENT = b"RTSTRUCT" * 1000

    def answer(self, etag: str | None = None, missing_bytes: int = 0) -> Scripted:
        etag = hashlib.sha256(self.CONTENT).hexdigest() if etag is None else etag
        return Scripted(
            headers={"ETag": f'"{etag}"'}, body=self.CONTENT, missing_bytes=missing_bytes
        )

    def test_a_file_is_written(self, tmp_path: Path, retries: RetryPolicy) -> None:
        with ScriptedServer(self.answer()) as server, speaking(server.url, retries) as http:
            http.download("/v1/x", tmp_path / "rs.dcm")

        assert (tmp_path / "rs.dcm").read_bytes() == self.CONTENT
        assert [path.name for path in tmp_path.iterdir()] == ["rs.dcm"]

    def test_a_file_with_another_hash_is_not_kept(
        self, tmp_path: Path, retries: RetryPolicy
    ) -> None:
        (tmp_path / "rs.dcm").write_bytes(b"before")
        with (
            ScriptedServer(self.answer("0" * 64)) as server,
            speaking(server.url, retries) as http,
            pytest.raises(DownloadDamagedError, match="/v1/x"),
        ):
            http.download("/v1/x", tmp_path / "rs.dcm")

        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"rs.dcm": b"before"}

    def test_an_etag_that_is_no_hash_says_nothing(
        self, tmp_path: Path, retries: RetryPolicy
    ) -> None:
        with ScriptedServer(self.answer("v1")) as server, speaking(server.url, retries) as http:
            http.download("/v1/x", tmp_path / "rs.dcm")

        assert (tmp_path / "rs.dcm").read_bytes() == self.CONTENT

    def test_a_transfer_that_breaks_is_begun_again(
        self, tmp_path: Path, retries: RetryPolicy
    ) -> None:
        answers = (self.answer(missing_bytes=5), self.answer())
        with ScriptedServer(*answers) as server, speaking(server.url, retries) as http:
            http.download("/v1/x", tmp_path / "rs.dcm")

        assert (tmp_path / "rs.dcm").read_bytes() == self.CONTENT

    def test_a_transfer_that_always_breaks_leaves_nothing(
        self, tmp_path: Path, retries: RetryPolicy
    ) -> None:
        broken = self.answer(missing_bytes=5)
        with (
            ScriptedServer(broken) as server,
            speaking(server.url, retries) as http,
            pytest.raises(ServiceUnreachableError),
        ):
            http.download("/v1/x", tmp_path / "rs.dcm")

        assert not list(tmp_path.iterdir())

    def test_a_refused_download_leaves_nothing(self, tmp_path: Path, retries: RetryPolicy) -> None:
        refusal = Scripted(status=409, body=json.dumps(PROBLEM).encode())
        with (
            ScriptedServer(refusal) as server,
            speaking(server.url, retries) as http,
            pytest.raises(ProblemError),
        ):
            http.download("/v1/x", tmp_path / "rs.dcm")

        assert not list(tmp_path.iterdir())


def test_no_part_of_a_path_leads_to_another_resource() -> None:
    assert path_to("contour-jobs", "../runs?x=1") == "/v1/contour-jobs/..%2Fruns%3Fx%3D1"


def test_proxy_variables_are_left_alone_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, retries: RetryPolicy
) -> None:
    health = Scripted(body=b'{"status": "ready", "checks": {}}')
    with ScriptedServer(health) as service, ScriptedServer(BUSY) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        with CerviContourClient(service.url, retries=retries) as client:
            client.health()
        assert (len(service.seen), len(proxy.seen)) == (1, 0)
        with (
            CerviContourClient(service.url, retries=retries, trust_env=True) as client,
            pytest.raises(UnexpectedAnswerError),
        ):
            client.health()
        assert (len(service.seen), len(proxy.seen)) == (1, 1)


def test_headers_are_sent_with_every_request(retries: RetryPolicy) -> None:
    health = Scripted(body=b'{"status": "ready", "checks": {}}')
    with (
        ScriptedServer(health) as server,
        CerviContourClient(server.url, headers={"X-Api-Key": "k"}, retries=retries) as client,
    ):
        client.health()

    assert server.seen[0].headers["X-Api-Key"] == "k"


def test_an_unready_service_is_described_and_not_asked_again(retries: RetryPolicy) -> None:
    checks = b'{"status": "not_ready", "checks": {"broker": {"ok": false, "detail": "down"}}}'
    unready = Scripted(status=503, headers={"Retry-After": "5"}, body=checks)
    with (
        ScriptedServer(unready) as server,
        CerviContourClient(server.url, retries=retries) as client,
    ):
        health = client.health()

    assert not health.is_ready
    assert health.checks["broker"].detail == "down"
    assert len(server.seen) == 1


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "", "http://", "http://a:b/"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        CerviContourClient(url)
