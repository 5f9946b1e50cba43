"""API keys as administrators handle them over HTTP."""

import datetime as dt
from uuid import uuid4

import pytest

from services.core.database import utc_now
from tests.factories.access import bearer
from tests.factories.api import Api

pytestmark = pytest.mark.anyio


async def made(api: Api, **body: object) -> dict[str, str]:
    response = await api.client.post(
        "/v1/api-keys", json={"name": "pacs", "role": "submitter", **body}
    )
    assert response.status_code == 201, response.text
    return response.json()


class TestApiKeys:
    async def test_a_key_is_shown_once_and_expires(self, api: Api) -> None:
        key = await made(api)
        me = (await api.client.get("/v1/me")).json()
        listed = (await api.client.get("/v1/api-keys")).json()["items"][0]
        assert listed == {name: value for name, value in key.items() if name != "key"}
        assert (listed["name"], listed["role"], listed["created_by"]) == (
            "pacs", "submitter", me["id"],
        )  # fmt: skip
        left = dt.datetime.fromisoformat(listed["expires_at"]) - utc_now()
        assert dt.timedelta(days=364) < left < dt.timedelta(days=366)

    async def test_its_life_may_be_shorter(self, api: Api) -> None:
        expires_at = dt.datetime.fromisoformat((await made(api, days=1))["expires_at"])
        assert expires_at < utc_now() + dt.timedelta(days=1, minutes=1)

    @pytest.mark.parametrize(
        "body",
        [
            {"days": 0}, {"days": 100_000}, {"role": "root"}, {"name": ""}, {"name": "a\nb"},
            {"name": "x" * 81}, {"name": "\N{RIGHT-TO-LEFT OVERRIDE}x"},
            {"name": "pa\N{ZERO WIDTH SPACE}cs"}, {"never_expires": True},
        ],
        ids=str,
    )  # fmt: skip
    async def test_what_makes_no_key(self, api: Api, body: dict[str, object]) -> None:
        response = await api.client.post(
            "/v1/api-keys", json={"name": "pacs", "role": "submitter", **body}
        )
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")

    async def test_a_renewed_key_leaves_the_old_one_valid(self, api: Api) -> None:
        old = await made(api)
        response = await api.client.post(f"/v1/api-keys/{old['id']}/renew", json={})
        new = response.json()
        assert response.headers["Cache-Control"] == "no-store"
        for name in ("client_id", "name", "role"):
            assert new[name] == old[name]
        ids = [
            (await api.client.get("/v1/me", headers=bearer(key["key"]))).json()["id"]
            for key in (old, new)
        ]
        assert ids == [f"key:{old['client_id']}"] * 2

    async def test_revoking_again_changes_nothing(self, api: Api) -> None:
        path = f"/v1/api-keys/{(await made(api))['id']}/revoke"
        first, second = [(await api.client.post(path)).json() for _ in range(2)]
        assert first == second
        assert first["revoked_at"] is not None

    async def test_unknown_keys(self, api: Api) -> None:
        for action in ("revoke", "renew"):
            response = await api.client.post(f"/v1/api-keys/{uuid4()}/{action}", json={})
            assert (response.status_code, response.json()["code"]) == (404, "api_key_not_found")

    async def test_pages_follow_each_other(self, api: Api) -> None:
        keys = [(await made(api, name=f"client {number}"))["id"] for number in range(3)]
        first = (await api.client.get("/v1/api-keys?limit=2")).json()
        path = f"/v1/api-keys?limit=2&cursor={first['next_cursor']}"
        second = (await api.client.get(path)).json()
        listed = [item["id"] for item in first["items"] + second["items"]]
        assert listed[:3] == keys[::-1]
        assert (len(listed), second["next_cursor"]) == (4, None)
