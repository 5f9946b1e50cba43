"""API keys at the door: what is let in, what is not, and what is left behind."""

import asyncio
import datetime as dt
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing

import anyio
import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from services.api.access.gate import LATE_LOOKUPS, MAX_LATE_WAITING
from services.api.access.keys import KeyAuthenticator
from services.api.main import create_app
from services.core.actor import Actor, Role
from services.core.api_keys import draw_key, is_key, key_sha256
from services.core.database import utc_now
from services.core.settings import Settings
from services.core.tables.access import ApiKey
from tests.factories.access import add_key, bearer
from tests.factories.api import Api, hold_rates_still
from tests.fakes import FakeJobQueue
from tests.waiting import wait_in_loop_until

pytestmark = pytest.mark.anyio

KEY = "cck_" + "x" * 43


async def answer(api: Api, *values: bytes | str, path: str = "/v1/me") -> tuple[int, str]:
    request = api.client.build_request("GET", path)
    del request.headers["Authorization"]
    shown = [(b"Authorization", v.encode() if isinstance(v, str) else v) for v in values]
    request.headers = httpx.Headers([*request.headers.raw, *shown])
    response = await api.client.send(request)
    return response.status_code, response.json().get("code", "")


async def gathered(api: Api, keys: Sequence[str]) -> list[int]:
    """The statuses of requests that are all under way at once."""
    answers = await asyncio.gather(*(answer(api, f"Bearer {key}") for key in keys))
    return [status for status, _ in answers]


def row_of(api: Api, key: str) -> ApiKey:
    with api.unit_of_work() as uow:
        found = uow.api_keys.find_by_hash(key_sha256(key))
    assert found is not None
    return found


class TestCredentials:
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
    async def test_a_key_lets_in(self, api: Api, scheme: str) -> None:
        key = add_key(api.unit_of_work, Role.MONITOR)
        assert await answer(api, f"{scheme} {key}") == (200, "")

    @pytest.mark.parametrize(
        "value",
        [
            "", "Bearer", "Bearer ", KEY, f"Basic {KEY}", f"Token {KEY}", f"Bearer {KEY}",
            f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Bearer {KEY.upper()}", f"Bearer {KEY} {KEY}",
            f"Bearer {KEY},{KEY}", f'Bearer "{KEY}"', "Bearer \xe4", "Bearer cck_\xe4" + "x" * 42,
            "Bearer " + "x" * 9000, "Bearer a.b.c", "Bearer cck_' OR 1=1 --", "Bearer null",
            "Bearer cck_\x7f",
        ],
        ids=range(20),
    )  # fmt: skip
    async def test_anything_else_does_not(self, api: Api, value: str) -> None:
        assert await answer(api, value.encode("latin-1")) == (401, "unauthenticated")

    async def test_two_headers_are_one_too_many(self, api: Api) -> None:
        value = f"Bearer {add_key(api.unit_of_work)}"
        assert await answer(api, value, value) == (401, "unauthenticated")

    @pytest.mark.parametrize("name", ["api_key", "access_token", "key", "Authorization"])
    async def test_an_address_is_no_place_for_a_key(self, api: Api, name: str) -> None:
        path = f"/v1/me?{name}={add_key(api.unit_of_work)}"
        assert await answer(api, path=path) == (401, "unauthenticated")

    @pytest.mark.parametrize("name", ["X-Api-Key", "Cookie", "Proxy-Authorization"])
    async def test_another_header_is_none_either(self, api: Api, name: str) -> None:
        request = api.client.build_request("GET", "/v1/me")
        request.headers[name] = request.headers.pop("Authorization")
        assert (await api.client.send(request)).status_code == 401


class TestLife:
    async def test_an_expired_key_is_over(self, api: Api) -> None:
        before = utc_now() - dt.timedelta(seconds=1)
        key = add_key(api.unit_of_work, expires_at=before)
        assert await answer(api, f"Bearer {key}") == (401, "unauthenticated")

    async def test_a_revoked_key_is_over_with_the_next_request(self, api: Api) -> None:
        key = add_key(api.unit_of_work)
        assert await answer(api, f"Bearer {key}") == (200, "")
        row = row_of(api, key)
        revoked = await api.client.post(f"/v1/api-keys/{row.id}/revoke")
        assert revoked.json()["revoked_at"] is not None
        assert await answer(api, f"Bearer {key}") == (401, "unauthenticated")

    async def test_its_use_is_noted_once_a_minute(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = utc_now()
        monkeypatch.setattr(api.app.state.gate.keys, "_now", lambda: now)
        key = add_key(api.unit_of_work)
        assert row_of(api, key).last_used_at is None
        await answer(api, f"Bearer {key}")
        first = row_of(api, key).last_used_at
        assert first is not None
        await answer(api, f"Bearer {key}")
        assert row_of(api, key).last_used_at == first
        with api.unit_of_work() as uow:
            uow._session.execute(
                sa.update(ApiKey).values(last_used_at=now - dt.timedelta(seconds=61))
            )
            uow.commit()
        await answer(api, f"Bearer {key}")
        assert row_of(api, key).last_used_at == now

    async def test_a_use_that_cannot_be_noted_is_served(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OperationalError("disk full", {}, Exception())

        key = add_key(api.unit_of_work)
        target = "services.core.repositories.api_keys.ApiKeyRepository.note_use"
        monkeypatch.setattr(target, fail)
        assert await answer(api, f"Bearer {key}") == (200, "")


class TestDatabase:
    async def test_without_it_nobody_is_told_that_a_key_is_wrong(self, api: Api) -> None:
        with closing(sqlite3.connect(api.data_dir / "cervicontour.sqlite")) as connection:
            connection.execute("DROP TABLE api_key")
        response = await api.client.get("/v1/series")
        assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
        assert "Retry-After" in response.headers
        assert (await api.client.get("/health/live")).status_code == 200
        assert (await api.client.get("/health/ready")).json()["workers"] is None

    async def test_a_writer_keeps_nobody_waiting(self, api: Api) -> None:
        await api.client.get("/v1/me")
        with closing(sqlite3.connect(api.data_dir / "cervicontour.sqlite")) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE")
            assert (await api.client.get("/v1/me")).status_code == 200

    async def test_the_event_loop_looks_nothing_up(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads: list[threading.Thread] = []
        look_up = KeyAuthenticator._look_up

        def noting(self: KeyAuthenticator, key: str) -> object:
            threads.append(threading.current_thread())
            return look_up(self, key)

        monkeypatch.setattr(KeyAuthenticator, "_look_up", noting)
        await api.client.get("/v1/me")
        assert threads
        assert threading.main_thread() not in threads


class TestSecrecy:
    async def test_a_key_is_nowhere_but_in_the_answer_that_shows_it(
        self, api: Api, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        made = await api.client.post("/v1/api-keys", json={"name": "pacs", "role": "submitter"})
        assert made.headers["Cache-Control"] == "no-store"
        key = made.json()["key"]
        answers = [
            await api.client.get("/v1/me", headers=bearer(key)),
            await api.client.get("/v1/me", headers=bearer(f"{key}x")),
            await api.client.get("/v1/api-keys", headers=bearer(key)),
            await api.client.get(f"/v1/nothing?key={key}", headers=bearer(key)),
            await api.client.get("/v1/api-keys"),
        ]
        assert not any(key in answer.text for answer in answers)
        ours = "\n".join(record.getMessage() for record in caplog.records if record.name != "httpx")
        assert key not in ours
        with closing(sqlite3.connect(api.data_dir / "cervicontour.sqlite")) as connection:
            dump = "\n".join(connection.iterdump())
        assert key not in dump
        assert key_sha256(key) in dump


class TestShape:
    def test_keys_are_256_random_bits(self) -> None:
        keys = {draw_key() for _ in range(1000)}
        assert len(keys) == 1000
        assert all(is_key(key) for key in keys)
        assert not is_key("cck_" + "x" * 42 + "\n")


class TestLimits:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"requests_per_minute": 3, "failed_logins_per_minute": 2})

    @pytest.fixture(autouse=True)
    def _still_rates(self, api: Api) -> None:
        hold_rates_still(api)

    async def test_a_client_that_asks_too_often_waits_and_others_do_not(self, api: Api) -> None:
        key, other = add_key(api.unit_of_work), add_key(api.unit_of_work)
        answers = [await api.client.get("/v1/me", headers=bearer(key)) for _ in range(4)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429]
        assert answers[-1].json()["code"] == "rate_limited"
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 20
        assert await answer(api, f"Bearer {other}") == (200, "")

    async def test_an_address_that_guesses_waits_but_those_who_are_known_do_not(
        self, api: Api
    ) -> None:
        key = add_key(api.unit_of_work)
        assert await answer(api, f"Bearer {key}") == (200, "")
        codes = [(await answer(api, f"Bearer {draw_key()}"))[0] for _ in range(4)]
        assert codes == [401, 401, 429, 429]
        assert await answer(api, f"Bearer {key}") == (200, "")

    async def test_those_who_are_new_get_in_whatever_others_try_from_their_address(
        self, api: Api
    ) -> None:
        codes = [(await answer(api, f"Bearer {draw_key()}"))[0] for _ in range(4)]
        assert codes == [401, 401, 429, 429]
        late = [add_key(api.unit_of_work) for _ in range(5)]
        assert [await answer(api, f"Bearer {key}") for key in late] == [(200, "")] * 5
        refused = await api.client.get("/v1/me", headers=bearer(draw_key()))
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert int(refused.headers["Retry-After"]) > 0

    async def test_who_guesses_many_at_once_is_not_answered_more_often(self, api: Api) -> None:
        answers = await gathered(api, [draw_key() for _ in range(100)])
        assert sorted(answers) == [401] * 2 + [429] * 98

    async def test_of_those_who_come_at_once_and_are_known_none_waits(self, api: Api) -> None:
        keys = [add_key(api.unit_of_work) for _ in range(50)]
        assert await gathered(api, keys) == [200] * 50
        codes = [(await answer(api, f"Bearer {draw_key()}"))[0] for _ in range(4)]
        assert codes == [401, 401, 429, 429]

    async def test_who_could_not_be_looked_up_did_not_guess(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OperationalError("gone", {}, Exception())

        with monkeypatch.context() as patch:
            patch.setattr(KeyAuthenticator, "_look_up", fail)
            codes = [(await answer(api, f"Bearer {draw_key()}"))[0] for _ in range(4)]
        assert codes == [503] * 4
        assert (await answer(api, f"Bearer {draw_key()}"))[0] == 401

    async def test_an_address_that_guesses_makes_few_be_looked_up_at_a_time(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = add_key(api.unit_of_work)
        assert await answer(api, f"Bearer {known}") == (200, "")
        for _ in range(2):
            assert (await answer(api, f"Bearer {draw_key()}"))[0] == 401
        under_way: list[str] = []
        may_end = anyio.Event()
        authenticate = KeyAuthenticator.authenticate

        async def held(self: KeyAuthenticator, key: str) -> Actor:
            if key != known:
                under_way.append(key)
                await may_end.wait()
            return await authenticate(self, key)

        monkeypatch.setattr(KeyAuthenticator, "authenticate", held)
        count = LATE_LOOKUPS + MAX_LATE_WAITING + 10
        codes: list[int] = []

        def waiting() -> int:
            return api.app.state.gate._late_slots.statistics().tasks_waiting

        async def guess() -> None:
            codes.append((await answer(api, f"Bearer {draw_key()}"))[0])

        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(guess)
            await wait_in_loop_until(lambda: waiting() + len(codes) + len(under_way) == count)
            assert (len(under_way), waiting()) == (LATE_LOOKUPS, MAX_LATE_WAITING)
            assert codes == [429] * 10  # nobody waits in a queue without an end
            assert await answer(api, f"Bearer {known}") == (200, "")
            may_end.set()
        assert codes == [429] * count

    async def test_requests_without_credentials_count_as_no_guesses(self, api: Api) -> None:
        for _ in range(5):
            assert await answer(api) == (401, "unauthenticated")


async def test_one_client_has_so_many_uploads_at_a_time(settings: Settings, api: Api) -> None:
    slots = api.app.state.upload_slots
    me = (await api.client.get("/v1/me")).json()["id"]
    headers = {"Content-Type": "application/zip"}
    with ExitStack() as under_way:
        for _ in range(settings.max_concurrent_uploads):
            under_way.enter_context(slots.taken(me))
        response = await api.client.post("/v1/series", content=b"PK", headers=headers)
        other = headers | bearer(add_key(api.unit_of_work, Role.SUBMITTER))
        others = await api.client.post("/v1/series", content=b"PK", headers=other)
    assert (response.status_code, response.json()["code"]) == (429, "too_many_uploads")
    assert int(response.headers["Retry-After"]) > 0
    assert others.status_code == 422
    assert not slots._under_way


def test_create_app_reads_no_key(settings: Settings) -> None:
    create_app(settings, FakeJobQueue())
    assert not settings.data_dir.exists()
