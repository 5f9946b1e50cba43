"""Keys of the provider while many ask for them at once, and when it answers nonsense."""

import asyncio
import http.client
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anyio import create_task_group, wait_all_tasks_blocked

from services.api.access import identity_keys
from services.api.access.errors import IdentityProviderUnavailableError
from services.api.access.identity_keys import (
    LIFETIME_SECONDS,
    MAX_AGE_SECONDS,
    MIN_PAUSE_SECONDS,
    IdentityKeys,
)
from tests.factories.issuer import public_jwk, running_issuer
from tests.factories.servers import Scripted, ScriptedServer
from tests.fakes import Seconds
from tests.waiting import wait_in_loop_until, wait_until

pytestmark = pytest.mark.anyio

MANY = 20


class Provider:
    """Answers once it is let."""

    def __init__(self) -> None:
        self.names = ["rsa-1"]
        self.failure: Exception | None = None
        self.fetches = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def get_json(self, _url: str) -> dict[str, Any]:
        self.fetches += 1
        wait_until(self.may_answer.is_set)
        if self.failure is not None:
            raise self.failure
        return {"keys": [public_jwk(name) for name in self.names]}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    provider = Provider()
    monkeypatch.setattr(identity_keys, "_get_json", provider.get_json)
    return provider


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def keys(clock: Seconds) -> IdentityKeys:
    return IdentityKeys("https://id.example", "https://id.example/keys", now=clock)


async def outcome(keys: IdentityKeys, name: str) -> str:
    try:
        found = await keys.find(name)
    except IdentityProviderUnavailableError:
        return "unavailable"
    return "unknown" if found is None else str(found.key_id)


async def outcomes(
    keys: IdentityKeys, provider: Provider, name: str, meanwhile: Callable[[], Any] | None = None
) -> list[str]:
    """What many are told who ask while the provider has not answered yet."""
    found: list[str] = []

    async def ask() -> None:
        found.append(await outcome(keys, name))

    provider.may_answer.clear()
    try:
        async with create_task_group() as group:
            group.start_soon(ask)
            await wait_all_tasks_blocked()  # the provider is being asked
            for _ in range(MANY - 1):
                group.start_soon(ask)
            await wait_all_tasks_blocked()
            if meanwhile is not None:
                await meanwhile()
            provider.may_answer.set()
    finally:
        provider.may_answer.set()
    return found


class TestManyAtOnce:
    async def test_at_the_start_all_wait_for_one_answer(
        self, keys: IdentityKeys, provider: Provider
    ) -> None:
        assert await outcomes(keys, provider, "rsa-1") == ["rsa-1"] * MANY
        assert provider.fetches == 1

    async def test_when_keys_rotate_all_wait_and_those_with_a_known_key_do_not(
        self, keys: IdentityKeys, provider: Provider, clock: Seconds
    ) -> None:
        await keys.find("rsa-1")
        clock.now += MIN_PAUSE_SECONDS
        provider.names = ["rsa-1", "ec-1"]

        async def known_key() -> None:
            asking = asyncio.create_task(outcome(keys, "rsa-1"))
            await wait_in_loop_until(asking.done)
            assert asking.result() == "rsa-1"

        assert await outcomes(keys, provider, "ec-1", known_key) == ["ec-1"] * MANY
        assert provider.fetches == 2

    @pytest.mark.parametrize("age", [LIFETIME_SECONDS + 1, MAX_AGE_SECONDS + 1])
    async def test_keys_that_are_old_are_asked_for_once(
        self, keys: IdentityKeys, provider: Provider, clock: Seconds, age: float
    ) -> None:
        await keys.find("rsa-1")
        clock.now += age
        assert await outcomes(keys, provider, "rsa-1") == ["rsa-1"] * MANY
        assert provider.fetches == 2

    async def test_a_key_that_the_provider_withdrew_is_over(
        self, keys: IdentityKeys, provider: Provider, clock: Seconds
    ) -> None:
        provider.names = ["rsa-1", "ec-1"]
        await keys.find("ec-1")
        provider.names = ["rsa-1"]
        clock.now += LIFETIME_SECONDS + 1
        assert await outcome(keys, "rsa-1") == "rsa-1"
        assert await outcome(keys, "ec-1") == "unknown"

    async def test_days_without_a_rotation_keep_nobody_out(
        self, keys: IdentityKeys, provider: Provider, clock: Seconds
    ) -> None:
        for _ in range(50):
            assert await outcome(keys, "rsa-1") == "rsa-1"
            clock.now += MAX_AGE_SECONDS / 20
        assert provider.fetches == 50

    async def test_a_failure_is_everybodys_and_nobody_asks_again_at_once(
        self, keys: IdentityKeys, provider: Provider, clock: Seconds
    ) -> None:
        provider.failure = OSError()
        assert await outcomes(keys, provider, "rsa-1") == ["unavailable"] * MANY
        assert provider.fetches == 1
        clock.now += MIN_PAUSE_SECONDS
        provider.failure = None
        assert await outcome(keys, "rsa-1") == "rsa-1"

    async def test_a_name_that_there_is_not_is_unknown_to_all(
        self, keys: IdentityKeys, provider: Provider
    ) -> None:
        assert await outcomes(keys, provider, "invented") == ["unknown"] * MANY
        assert provider.fetches == 1


class TestNonsense:
    @pytest.mark.parametrize(
        "failure",
        [
            http.client.BadStatusLine("x"), http.client.IncompleteRead(b""),
            http.client.LineTooLong("header line"), TimeoutError(), ConnectionResetError(),
            ValueError(),
        ],
        ids=repr,
    )  # fmt: skip
    async def test_a_provider_that_answers_nonsense_is_away(
        self, keys: IdentityKeys, provider: Provider, clock: Seconds, failure: Exception
    ) -> None:
        await keys.find("rsa-1")
        provider.failure = failure
        clock.now += MIN_PAUSE_SECONDS
        for _ in range(2):  # the second does not ask
            assert await outcome(keys, "ec-1") == "unavailable"
            assert await outcome(keys, "rsa-1") == "rsa-1"
        assert provider.fetches == 2

    @pytest.mark.parametrize(
        "jwk",
        [
            7, {}, {"kty": "RSA", "kid": "x", "n": 7, "e": "AQAB"}, public_jwk("rsa-1", kid=[7]),
            public_jwk("rsa-1", alg=["RS256"]),
        ],
        ids=range(5),
    )  # fmt: skip
    async def test_keys_that_are_none_are_no_internal_error(
        self, keys: IdentityKeys, monkeypatch: pytest.MonkeyPatch, jwk: object
    ) -> None:
        monkeypatch.setattr(identity_keys, "_get_json", lambda _url: {"keys": [jwk]})
        assert await outcome(keys, "rsa-1") == "unavailable"


class TestProxies:
    @pytest.fixture
    def proxy(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
        with ScriptedServer(Scripted(status=503)) as proxy:
            for name in ("http_proxy", "https_proxy"):
                monkeypatch.setenv(name, proxy.url)
                monkeypatch.setenv(name.upper(), proxy.url)
            for name in ("no_proxy", "NO_PROXY"):
                monkeypatch.delenv(name, raising=False)
            yield proxy

    async def test_a_provider_without_tls_is_asked_directly(self, proxy: ScriptedServer) -> None:
        with running_issuer() as issuer:
            assert await outcome(IdentityKeys(issuer.url, None), "rsa-1") == "rsa-1"
        assert proxy.seen == []

    async def test_a_provider_with_tls_is_asked_through_it(self, proxy: ScriptedServer) -> None:
        keys = IdentityKeys("https://id.example", "https://id.example/keys")
        assert await outcome(keys, "rsa-1") == "unavailable"
        assert [seen.method for seen in proxy.seen] == ["CONNECT"]
