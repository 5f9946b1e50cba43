"""Bodies that are no uploads are small, flat and in time; uploads are in time."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.types import Message, Scope

from services.api.body_limits import BodyLimits, BodyLimitsMiddleware, is_deeper, takes_upload
from services.api.datasets.routes import router as datasets_router
from services.api.series.routes import router as series_router
from tests.factories.api import MEBIBYTE, Api

pytestmark = pytest.mark.anyio
JSON = {"Content-Type": "application/json"}
LIMITS = BodyLimits(max_bytes=1000, max_depth=4, idle_seconds=0.2)


class TestSize:
    async def test_a_body_too_large_by_its_own_account_is_not_received(self, api: Api) -> None:
        headers = JSON | {"Content-Length": str(MEBIBYTE + 1)}

        async def content() -> AsyncIterator[bytes]:
            raise AssertionError("nobody asks for it")
            yield b""

        response = await api.client.post("/v1/datasets", content=content(), headers=headers)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert response.json()["context"] == {"max_body_bytes": MEBIBYTE}

    async def test_a_body_that_does_not_say_how_large_it_is_is_counted(self, api: Api) -> None:
        async def content() -> AsyncIterator[bytes]:
            for _ in range(200):
                yield b" " * (MEBIBYTE // 100)

        response = await api.client.post("/v1/datasets", content=content(), headers=JSON)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    async def test_it_holds_for_routes_that_take_no_body_and_that_do_not_exist(
        self, api: Api
    ) -> None:
        for method, path in (("GET", "/v1/series"), ("POST", "/nothing"), ("PUT", "/v1/series")):
            response = await api.client.request(method, path, content=bytes(MEBIBYTE + 1))
            assert response.json()["code"] == "body_too_large"

    async def test_an_upload_has_limits_of_its_own(self, api: Api) -> None:
        response = await api.client.post(
            "/v1/series", content=bytes(MEBIBYTE + 1), headers={"Content-Type": "application/zip"}
        )
        assert response.json()["code"] == "not_a_zip"

    def test_every_route_that_takes_files_is_known_as_such(self) -> None:
        routes = [r for router in (series_router, datasets_router) for r in router.routes]
        found = {getattr(route, "path", "") for route in routes if takes_upload(route)}
        assert found == {"/v1/series", "/v1/datasets/{dataset_id}/cases"}


class TestDepth:
    @pytest.mark.parametrize("unit", ["[", '{"a":'])
    @pytest.mark.parametrize("times", [40, 20_000])
    async def test_deep_json_is_refused(self, api: Api, unit: str, times: int) -> None:
        response = await api.client.post("/v1/datasets", content=unit * times, headers=JSON)
        assert (response.status_code, response.json()["code"]) == (422, "body_too_deep")

    @pytest.mark.parametrize(
        ("body", "is_deep"),
        [
            ("[[[[1]]]]", False),
            ("[[[[[1]]]]]", True),
            ('{"a": [{"b": [1]}]}', False),
            ('{"a": [{"b": [{}]}]}', True),
            ('"[[[[[[[["', False),
            ('["\\"[[[[[[[[", "\\\\", "]"]', False),
            ("[], [], [], [], [], []", False),
            ('"unfinished [[[[[[[', False),
            ("", False),
        ],
    )
    def test_brackets_count_outside_texts(self, body: str, is_deep: bool) -> None:
        assert is_deeper(body.encode(), 4) is is_deep

    @pytest.mark.parametrize("piece", [b"\\", b"[]", b'""'])
    def test_long_bodies_are_looked_through(self, piece: bytes) -> None:
        # in a time in proportion to the bytes: by its square, the limit of a test would end it
        assert not is_deeper(b'"' + piece * (MEBIBYTE // len(piece)), 32)
        assert not is_deeper(piece * (MEBIBYTE // len(piece)), 32)


class TestTime:
    async def refusal(
        self, pieces: list[bytes], pause: float, limits: BodyLimits = LIMITS
    ) -> dict[str, Any]:
        """What a sender is answered that pauses before each piece of a body."""

        async def receive() -> Message:
            await asyncio.sleep(pause)
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        return await self.answer(receive, limits)

    async def answer(self, receive: Any, limits: BodyLimits = LIMITS) -> dict[str, Any]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            while (await receive()).get("more_body"):
                pass
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})

        middleware = BodyLimitsMiddleware(app, limits=limits, upload_routes=[])
        scope = {"type": "http", "path": "/", "headers": [], "state": {"correlation_id": "x"}}
        await middleware(scope, receive, send)
        assert sent[0]["type"] == "http.response.start"
        return json.loads(sent[1]["body"]) | {"headers": dict(sent[0]["headers"])}

    async def test_a_sender_that_falls_silent_is_answered(self) -> None:
        problem = await self.refusal([b"[", b"]"], pause=30)
        assert (problem["status"], problem["code"]) == (408, "body_timeout")
        assert problem["headers"][b"connection"] == b"close"

    async def test_a_sender_that_drips_is_answered_too(self) -> None:
        pieces = [b" "] * 1000
        problem = await self.refusal(pieces, pause=0.05)
        assert problem["code"] == "body_timeout"
        assert len(pieces) > 900

    async def test_a_sender_in_time_is_served(self) -> None:
        patient = replace(LIMITS, idle_seconds=60)
        problem = await self.refusal([b"[", b"]"], pause=0.01, limits=patient)
        assert "code" not in problem

    async def test_a_sender_that_leaves_is_left(self) -> None:
        async def receive() -> Message:
            return {"type": "http.disconnect"}

        problem = await self.answer(receive)
        assert "code" not in problem

    async def test_what_is_no_request_passes(self) -> None:
        seen: list[str] = []

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            seen.append(scope["type"])

        async def nothing(*_: object) -> Any:
            return {}

        middleware = BodyLimitsMiddleware(app, limits=LIMITS, upload_routes=[])
        await middleware({"type": "lifespan"}, nothing, nothing)
        assert seen == ["lifespan"]
