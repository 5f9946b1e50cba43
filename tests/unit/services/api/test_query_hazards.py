"""Values in addresses and headers that no database can compare: refused, whichever route it is."""

import datetime as dt
from uuid import UUID, uuid4

import pytest

from services.api.paging import encode_cursor
from services.core.repositories.paging import PageCursor
from tests.factories.api import Api

pytestmark = pytest.mark.anyio

BEFORE_TIME = "0001-01-01T00:00:00+14:00"
AFTER_TIME = "9999-12-31T23:59:59-14:00"
RUN = "/v1/runs/0c2b3c2e-0000-4000-8000-000000000000/scores"


async def codes_of(api: Api, path: str, **query: str) -> tuple[int, str]:
    response = await api.client.get(path, params=query)
    return response.status_code, response.json().get("code", "")


@pytest.mark.parametrize("moment", [BEFORE_TIME, AFTER_TIME])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/audit-entries", "since"),
        ("/v1/audit-entries", "until"),
        ("/v1/reports/acceptability", "created_from"),
        ("/v1/reports/acceptability", "created_to"),
    ],
)
async def test_moments_that_utc_does_not_have(api: Api, path: str, name: str, moment: str) -> None:
    assert await codes_of(api, path, **{name: moment}) == (422, "validation_error")


@pytest.mark.parametrize("moment", [BEFORE_TIME, AFTER_TIME, "2026-01-01T00:00:00"])
@pytest.mark.parametrize(
    "path", ["/v1/series", "/v1/contour-jobs", "/v1/api-keys", "/v1/deletions"]
)
async def test_cursors_at_such_moments(api: Api, path: str, moment: str) -> None:
    cursor = encode_cursor(PageCursor(created_at=dt.datetime.fromisoformat(moment), id=uuid4()))
    assert await codes_of(api, path, cursor=cursor) == (422, "validation_error")


async def test_cursors_at_moments_of_other_zones_are_as_good(api: Api) -> None:
    moment = dt.datetime.fromisoformat("2026-01-01T00:00:00+14:00")
    cursor = encode_cursor(PageCursor(created_at=moment, id=UUID(int=0)))
    assert await codes_of(api, "/v1/series", cursor=cursor) == (200, "")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/audit-entries", "actor_id"),
        ("/v1/audit-entries", "resource_id"),
        ("/v1/reports/acceptability", "reviewer"),
        (RUN, "structure"),
    ],
)
async def test_texts_with_a_zero(api: Api, path: str, name: str) -> None:
    assert await codes_of(api, path, **{name: "a\0b"}) == (422, "validation_error")


async def test_idempotency_keys_with_a_zero(api: Api) -> None:
    response = await api.client.post(
        "/v1/datasets", json={"name": "a"}, headers={"Idempotency-Key": "a\0b"}
    )
    assert (response.status_code, response.json()["code"]) == (422, "validation_error")


async def test_positions_beyond_all_numbers_of_a_database(api: Api) -> None:
    path = f"/v1/experiments/{uuid4()}/runs"
    assert await codes_of(api, path, cursor="9" * 30) == (422, "validation_error")
