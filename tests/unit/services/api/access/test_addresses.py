"""Whose address a request has: that of its connection, unless a trusted proxy tells another."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from services.core.repositories.audit import AuditFilter
from services.core.settings import Settings
from tests.factories.access import bearer
from tests.factories.api import Api, hold_rates_still

pytestmark = pytest.mark.anyio

PROXY = "10.1.2.3"
ROOT = Path(__file__).parents[5]


@asynccontextmanager
async def connected(api: Api, address: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=api.app, client=(address, 4711))
    headers = api.client.headers
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api", headers=headers
    ) as client:
        yield client


async def recorded(api: Api, connection: str, *forwarded: str) -> str | None:
    """The address in the audit trail of a request that tells further addresses."""
    headers = [("X-Forwarded-For", value) for value in forwarded]
    async with connected(api, connection) as client:
        made = await client.post(
            "/v1/api-keys", json={"name": "x", "role": "monitor"}, headers=headers
        )
    assert made.status_code == 201, made.text
    with api.unit_of_work() as uow:
        return uow.audit.page(AuditFilter(), 1)[0].address


class TestByDefault:
    @pytest.mark.parametrize("connection", ["127.0.0.1", "192.0.2.7", "2001:db8::7"])
    async def test_the_connection_alone_counts(self, api: Api, connection: str) -> None:
        assert await recorded(api, connection, "203.0.113.9") == connection

    async def test_what_is_no_address_is_kept_nowhere(self, api: Api) -> None:
        assert await recorded(api, "MUELLER ANNA " * 300) is None


async def test_a_correlation_id_names_nobody_in_the_trail(api: Api) -> None:
    headers = {"X-Correlation-ID": "MUELLER_ANNA_19610203"}
    body = {"name": "x", "role": "monitor"}
    made = await api.client.post("/v1/api-keys", json=body, headers=headers)
    with api.unit_of_work() as uow:
        kept = uow.audit.page(AuditFilter(), 1)[0].correlation_id
    assert kept == made.headers["X-Correlation-ID"] != headers["X-Correlation-ID"]


class TestLog:
    async def test_whoever_shows_bad_credentials_is_found_by_address(
        self, api: Api, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with connected(api, "192.0.2.7") as client:
            await client.get("/v1/me", headers=bearer("nonsense"))
        async with connected(api, "MUELLER ANNA") as client:
            await client.get("/v1/me")
        lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
        told = [(line["event"], line["address"]) for line in lines]
        assert told == [
            ("request refused", "192.0.2.7"),
            ("request", "192.0.2.7"),
            ("request", None),
        ]


class TestBehindAProxy:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        given = Settings(trusted_proxies=(PROXY, "fd00:1::/64"))  # pyright: ignore[reportArgumentType]  # as read from json
        update = {"trusted_proxies": given.trusted_proxies, "failed_logins_per_minute": 2}
        return settings.model_copy(update=update)

    @pytest.mark.parametrize(
        ("forwarded", "address"),
        [
            (["203.0.113.9"], "203.0.113.9"),
            (["192.0.2.99, 203.0.113.9"], "203.0.113.9"),
            (["192.0.2.99", f"203.0.113.9, {PROXY}"], "203.0.113.9"),
            (["203.0.113.9:4711"], "203.0.113.9"),
            (["2001:DB8::9"], "2001:db8::9"),
            (["MUELLER ANNA 1961-02-03"], None),
            (["x" * 3000], None),
            ([], PROXY),
        ],
        ids=range(8),
    )
    async def test_the_client_is_whom_the_proxy_names(
        self, api: Api, forwarded: list[str], address: str | None
    ) -> None:
        assert await recorded(api, PROXY, *forwarded) == address

    async def test_a_network_may_be_trusted(self, api: Api) -> None:
        assert await recorded(api, "fd00:1::5", "203.0.113.9") == "203.0.113.9"

    @pytest.mark.parametrize("connection", ["127.0.0.1", "10.1.2.4", "fd00:2::5"])
    async def test_anybody_else_is_not_believed(self, api: Api, connection: str) -> None:
        assert await recorded(api, connection, "203.0.113.9") == connection

    async def test_clients_of_one_proxy_guess_each_for_themselves(self, api: Api) -> None:
        hold_rates_still(api)
        async with connected(api, PROXY) as client:

            async def guess(address: str) -> int:
                headers = bearer("nonsense") | {"X-Forwarded-For": address}
                return (await client.get("/v1/me", headers=headers)).status_code

            assert [await guess("203.0.113.9") for _ in range(3)] == [401, 401, 429]
            assert await guess("203.0.113.10") == 401


def test_the_image_has_uvicorn_believe_nobody() -> None:
    (command,) = [
        line
        for line in (ROOT / "Dockerfile.gpu").read_text().splitlines()
        if line.startswith("CMD") and "uvicorn" in line
    ]
    assert '"--no-proxy-headers"' in command
