"""Heads of requests end, spoken to over real sockets; everything else goes on as uvicorn has it."""

import time
from collections.abc import Iterator

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.api.problems import PROBLEM_MEDIA_TYPE, PROBLEMS
from services.api.request_heads import HEAD_SECONDS, MAX_HEAD_BYTES, BoundedHttpProtocol
from tests.factories.bounded_server import BOUND, FIRST_SECONDS, SHORT_SECONDS, Server
from tests.factories.senders import Answer, Sender
from tests.factories.servers import serving
from tests.waiting import POLL_SECONDS

GET = b"GET /bytes HTTP/1.1\r\nHost: api\r\n\r\n"
POST = b"POST /bytes HTTP/1.1\r\nHost: api\r\n"
WAIT = b"GET /wait HTTP/1.1\r\nHost: api\r\n\r\n"
REFUSE = b"POST /refuse HTTP/1.1\r\nHost: api\r\nContent-Length: 100\r\n\r\n"
BODY_BYTES = 500_000


@pytest.fixture
def server(caplog: pytest.LogCaptureFixture) -> Iterator[Server]:
    server = Server()
    with serving(server.app, server.protocol) as server.url:
        yield server
        server.gate.set()  # who still waits would have the end wait, too
    # where the event loop says that a protocol failed
    records = [*caplog.get_records("call"), *caplog.records]
    assert [record for record in records if record.name == "asyncio"] == []


def head_of(size: int) -> bytes:
    """Return a complete head of so many bytes."""
    start, end = b"GET /bytes HTTP/1.1\r\nHost: api\r\nX-Filler: ", b"\r\n\r\n"
    return start + b"a" * (size - len(start) - len(end)) + end


def in_pieces(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


def chunked(body: bytes, trailers: bytes = b"") -> bytes:
    return b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailers)


def assert_refused(sender: Sender, status: int, code: str) -> Answer:
    answer = sender.answer()
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["connection"] == "close"
    assert sender.is_at_its_end()
    return answer


class TestSize:
    @pytest.mark.parametrize("piece_bytes", [BOUND + 1, 400])
    def test_a_head_of_the_most_bytes_is_served(self, server: Server, piece_bytes: int) -> None:
        with server.sender() as sender:
            for _ in range(2):
                sender.send(*in_pieces(head_of(BOUND), piece_bytes), pause=POLL_SECONDS)
                assert sender.answer().status == 200

    @pytest.mark.parametrize("piece_bytes", [BOUND + 1, 400])
    def test_one_byte_more_is_refused(self, server: Server, piece_bytes: int) -> None:
        with server.sender() as sender:
            sender.send(*in_pieces(head_of(BOUND + 1), piece_bytes), pause=POLL_SECONDS)
            assert_refused(sender, 431, "request_head_too_large")
        assert server.seen == []

    @pytest.mark.parametrize(
        ("start", "piece"),
        [
            (b"GET /", b"a" * 500),
            (b"\r\n", b"\r\n" * 250),
            (GET[:-2] + b"X-Filler: ", b"a" * 500),
            (POST, b"X-Filler: a\r\n" * 40),
        ],
    )
    def test_a_head_that_does_not_end_is_refused(
        self, server: Server, start: bytes, piece: bytes
    ) -> None:
        with server.sender() as sender:
            sender.send(start).drip(piece)
            assert_refused(sender, 431, "request_head_too_large")

    def test_the_refusal_is_problem_details(self, server: Server) -> None:
        with server.sender() as sender:
            answer = assert_refused(sender.send(head_of(9000)), 431, "request_head_too_large")
        assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE
        assert answer.headers["x-correlation-id"] == answer.json["correlation_id"]
        assert answer.json["title"] == PROBLEMS["request_head_too_large"].title
        assert answer.json["context"] == {"max_head_bytes": BOUND}

    def test_who_is_still_sending_reads_the_answer(self, server: Server) -> None:
        with server.sender() as sender:
            sender.send(b"GET /", *[b"a" * 100_000] * 50)
            assert sender.answer().status == 431

    def test_nobody_sends_for_ever(self, server: Server) -> None:
        server.protocol.linger_seconds = SHORT_SECONDS
        with server.sender() as sender:
            assert sender.send(head_of(BOUND + 1)).answer().status == 431
            sender.send_until_reset(b"a")

    def test_a_head_is_refused_once(self, server: Server) -> None:
        with server.sender() as sender:
            assert sender.send(GET).answer().status == 200
            server.protocol.head_seconds = FIRST_SECONDS
            sender.send(GET[:-2], b"a" * BOUND, pause=POLL_SECONDS)
            assert sender.answer().status == 431
            time.sleep(1.2 * FIRST_SECONDS)
        assert server.refused == ["request_head_too_large"]

    def test_every_head_of_a_connection_is_bounded(self, server: Server) -> None:
        with server.sender() as sender:
            assert sender.send(POST, b"Content-Length: 3\r\n\r\nabc").answer().status == 200
            assert_refused(sender.send(head_of(BOUND + 1)), 431, "request_head_too_large")

    @pytest.mark.parametrize(
        "body",
        [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"abc")],
    )
    def test_a_head_that_comes_with_the_body_before_it_is_bounded(
        self, server: Server, body: bytes
    ) -> None:
        with server.sender() as sender:
            sender.send(POST + body + head_of(BOUND + 1))
            assert sender.is_at_its_end(), "an answer in the middle of another"
        assert len(server.seen) <= 1

    def test_bodies_are_not_counted(self, server: Server) -> None:
        body = bytes(BODY_BYTES)
        with server.sender() as sender:
            sender.send(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert sender.answer().json == {"bytes": BODY_BYTES}
            chunks = b"".join(chunked(piece)[:-5] for piece in in_pieces(body, 999))
            sender.send(POST + b"Transfer-Encoding: chunked\r\n\r\n", chunks, b"0\r\n\r\n")
            assert sender.answer().json == {"bytes": BODY_BYTES}

    def test_trailers_are_counted(self, server: Server) -> None:
        with server.sender() as sender:
            sender.send(POST + b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n0\r\n")
            sender.drip(b"X-Filler: " + b"a" * 500 + b"\r\n")
            assert_refused(sender, 431, "request_head_too_large")

    def test_nothing_is_counted_with_what_comes_after_it(self, server: Server) -> None:
        start = POST + b"Transfer-Encoding: chunked\r\nX-Filler: "
        head = start + b"a" * (BOUND - len(start) - 4) + b"\r\n\r\n"
        trailers = [b"X-Filler: " + b"a" * (BOUND - 100), b"\r\n\r\n"]
        with server.sender() as sender:
            for _ in range(2):
                sender.send(*in_pieces(head, 400), b"3\r\n", pause=POLL_SECONDS)
                sender.send(b"abc\r\n", b"0\r\n", *trailers, pause=POLL_SECONDS)
                assert sender.answer().json == {"bytes": 3}

    def test_trailers_do_not_pass_for_headers(self, server: Server) -> None:
        trailer = b"X-Forwarded-For: 10.1.2.3\r\n"
        with server.sender() as sender:
            sender.send(
                POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"abc", trailer) + GET
            )
            assert sender.answer().json == {"bytes": 3}
            assert sender.answer().status == 200
        assert server.seen == [(b"host", b"transfer-encoding"), (b"host",)]

    def test_the_service_takes_what_clients_send(self) -> None:
        assert (MAX_HEAD_BYTES, HEAD_SECONDS) == (65_536, 30)
        assert BoundedHttpProtocol.max_head_bytes == MAX_HEAD_BYTES
        assert BoundedHttpProtocol.head_seconds == HEAD_SECONDS


class TestTime:
    @pytest.mark.parametrize("start", [b"G", b"GET /bytes HTTP/1.1\r\nX-Filler: "])
    def test_a_head_that_drips_is_refused(self, server: Server, start: bytes) -> None:
        server.protocol.head_seconds = FIRST_SECONDS
        server.protocol.max_head_bytes = 1 << 30
        with server.sender() as sender:
            sender.send(start)
            sender.drip(b"" if start == b"G" else b"a")
            answer = assert_refused(sender, 408, "request_head_timeout")
        assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE
        assert answer.json["context"] == {"head_seconds": FIRST_SECONDS}

    def test_a_head_that_ends_too_late_is_not_served(self, server: Server) -> None:
        server.protocol.head_seconds = FIRST_SECONDS
        with server.sender() as sender:
            assert sender.send(GET[:-2]).answer().status == 408
            sender.send(GET[-2:])
            time.sleep(3 * SHORT_SECONDS)
        assert server.seen == []

    def test_a_sender_who_left_is_not_refused(self, server: Server) -> None:
        with server.sender() as sender:
            assert sender.send(GET).answer().status == 200
            server.hasten()
            sender.send(GET[:-2])
        time.sleep(3 * SHORT_SECONDS)
        assert server.refused == []

    @pytest.mark.parametrize("nothing", [b"", b"\r\n"])
    def test_a_silent_connection_is_closed_quietly(self, server: Server, nothing: bytes) -> None:
        server.hasten()
        with server.sender() as sender:
            assert sender.send(nothing).is_at_its_end()

    def test_a_kept_connection_may_rest_between_requests(self, server: Server) -> None:
        with server.sender() as sender:
            assert sender.send(GET).answer().status == 200
            server.hasten()
            time.sleep(3 * SHORT_SECONDS)
            assert sender.send(GET).answer().status == 200

    def test_every_head_of_a_connection_is_timed(self, server: Server) -> None:
        with server.sender() as sender:
            assert sender.send(GET).answer().status == 200
            server.hasten()
            sender.send(GET[:-2])
            assert_refused(sender, 408, "request_head_timeout")

    def test_an_empty_line_does_not_keep_a_connection(self, server: Server) -> None:
        with server.sender() as sender:
            assert sender.send(GET).answer().status == 200
            server.hasten()
            assert sender.send(b"\r\n").is_at_its_end()

    @pytest.mark.parametrize("header", [b"Content-Length: 3", b"Transfer-Encoding: chunked"])
    def test_a_slow_body_is_served(self, server: Server, header: bytes) -> None:
        body = [b"a", b"b", b"c"] if b"Length" in header else in_pieces(chunked(b"abc"), 4)
        server.protocol.head_seconds = FIRST_SECONDS
        with server.sender() as sender:
            sender.send(POST + header + b"\r\n\r\n", *body, pause=FIRST_SECONDS / 2.5)
            assert sender.answer().json == {"bytes": 3}

    def test_a_sender_may_wait_to_be_told_to_continue(self, server: Server) -> None:
        with server.sender() as sender:
            assert sender.send(GET).answer().status == 200
            server.hasten()
            sender.send(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            assert (sender.line(), sender.line()) == (b"HTTP/1.1 100 Continue\r\n", b"\r\n")
            time.sleep(3 * SHORT_SECONDS)
            assert sender.send(b"abc").answer().json == {"bytes": 3}

    def test_a_slow_answer_is_not_cut_by_half_a_head_behind_it(self, server: Server) -> None:
        with server.sender() as sender:
            assert sender.send(GET).answer().status == 200
            server.hasten()
            sender.send(WAIT + GET[:-2])
            time.sleep(3 * SHORT_SECONDS)
            server.gate.set()
            assert sender.answer().status == 200
            assert sender.send(GET[-2:]).answer().status == 200

    def test_what_is_left_of_a_body_is_not_awaited_for_ever(self, server: Server) -> None:
        with server.sender() as sender:
            assert sender.send(REFUSE).answer().status == 403
            server.hasten()
            assert sender.send(b"a" * 50).is_at_its_end()

    def test_what_is_left_of_a_body_may_be_slow(self, server: Server) -> None:
        with server.sender() as sender:
            assert sender.send(REFUSE).answer().status == 403
            server.protocol.head_seconds = FIRST_SECONDS  # of each piece, not of all
            sender.send(*[b"a" * 25] * 4, pause=FIRST_SECONDS / 2.5)
            assert sender.send(GET).answer().status == 200


class TestOtherwise:
    @pytest.mark.parametrize(
        "garbage",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"hello api\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
        ],
    )
    def test_what_is_no_request_is_refused(self, server: Server, garbage: bytes) -> None:
        with server.sender() as sender:
            answer = assert_refused(sender.send(garbage), 400, "bad_request")
        assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE

    def test_a_body_that_is_none_is_refused(self, server: Server) -> None:
        with server.sender() as sender:
            sender.send(POST + b"Transfer-Encoding: chunked\r\n\r\n", b"z" * 2 * BOUND)
            assert_refused(sender, 400, "bad_request")

    @pytest.mark.parametrize(
        "second",
        [
            b"hello api\r\n",
            b"\r\n" * BOUND,
            GET[:-2] + b"a" * BOUND,
            POST + b"Transfer-Encoding: chunked\r\n\r\nz",
        ],
    )
    def test_nothing_is_written_into_another_answer(self, server: Server, second: bytes) -> None:
        with server.sender() as sender:
            sender.send(WAIT).drip(second)
            assert sender.is_at_its_end()

    def test_nothing_is_written_into_an_answer_that_has_begun(self, server: Server) -> None:
        with server.sender() as sender:
            sender.send(b"POST /begin HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            while sender.line() != b"{\r\n":
                pass
            assert sender.send(b"z").is_at_its_end()

    def test_pipelined_requests_are_all_answered_in_turn(self, server: Server) -> None:
        bodies = [b"a" * n for n in range(20)]
        requests = [POST + b"Content-Length: %d\r\n\r\n" % len(b) + b for b in bodies]
        with server.sender() as sender:
            sender.send(GET * 3 + b"".join(requests) + GET)
            answers = [sender.answer().json["bytes"] for _ in range(24)]
        assert answers == [0, 0, 0, *range(20), 0]

    def test_the_body_of_a_request_to_switch_protocols_is_no_request(self, server: Server) -> None:
        head = POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(
            GET
        )
        with server.sender() as sender:
            answer = sender.send(head, GET, pause=POLL_SECONDS).answer()
            assert answer.headers["connection"] == "close"
            assert sender.is_at_its_end()
        assert len(server.seen) == 1

    def test_the_answer_to_a_request_to_switch_protocols_may_be_slow(self, server: Server) -> None:
        upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc"
        server.protocol.head_seconds = FIRST_SECONDS
        with server.sender() as sender:
            sender.send(b"POST /wait HTTP/1.1\r\nHost: api\r\n" + upgrade)
            time.sleep(1.2 * FIRST_SECONDS)
            server.gate.set()
            assert sender.answer().status == 200

    def test_a_request_to_switch_protocols_keeps_the_connection(self, server: Server) -> None:
        upgrade = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        with server.sender() as sender:
            assert sender.send(upgrade).answer().status == 200
            assert sender.send(GET).answer().status == 200

    def test_clients_notice_nothing(self, server: Server) -> None:
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            for _ in range(3):
                assert client.post("/bytes", content=bytes(100_000)).json() == {"bytes": 100_000}


class TestWhatIsReliedOn:
    """uvicorn promises none of it; a version without would have the bounds do nothing."""

    @pytest.mark.parametrize(
        "name",
        [
            name
            for name, value in vars(BoundedHttpProtocol).items()
            if callable(value) and (not name.startswith("_") or name == "__init__")
        ],
    )
    def test_uvicorn_has_what_is_overridden(self, name: str) -> None:
        assert name in vars(HttpToolsProtocol)
