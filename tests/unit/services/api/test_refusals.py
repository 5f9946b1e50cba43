"""Refused requests are counted, and written in few entries however many there were."""

from typing import Any

import pytest

from services.api import refusals
from services.api.refusals import MOST_ACTORS, RefusalTally
from services.core.actor import Actor, ActorKind, Role
from services.core.repositories.audit import AuditFilter
from tests.factories.access import add_key, bearer
from tests.factories.api import Api

pytestmark = pytest.mark.anyio


def actor(number: int) -> Actor:
    return Actor(kind=ActorKind.API_KEY, id=f"key:{number}", name=str(number), role=Role.SUBMITTER)


def entries_of(api: Api) -> list[tuple[str, dict[str, Any]]]:
    with api.unit_of_work() as uow:
        rows = uow.audit.page(AuditFilter(), 200)
    return [(row.actor_id, row.facts) for row in reversed(rows)]


@pytest.fixture(autouse=True)
def _written_by_tests_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "REFUSAL_SECONDS", 3600)


@pytest.fixture
def tally(api: Api) -> RefusalTally:
    return RefusalTally(api.app.state.dependencies.unit_of_work_of)


async def test_thousands_are_one_entry_for_each_who_was_refused(
    api: Api, tally: RefusalTally
) -> None:
    for number in range(3000):
        tally.note(None, f"10.0.0.{number % 3}")
    tally.note(actor(1), "10.0.0.9")

    tally.write()
    tally.write()

    assert entries_of(api) == [
        ("unknown", {"requests": 3000, "addresses": 3}),
        ("key:1", {"requests": 1, "addresses": 1}),
    ]


async def test_of_many_clients_the_last_count_as_unknown(api: Api, tally: RefusalTally) -> None:
    for number in range(MOST_ACTORS + 5):
        tally.note(actor(number), None)

    tally.write()

    entries = entries_of(api)
    assert len(entries) == MOST_ACTORS + 1
    assert entries[-1] == ("unknown", {"requests": 5, "addresses": 0})


@pytest.mark.parametrize("status", [401, 403])
async def test_the_outermost_frame_counts_them(api: Api, status: int) -> None:
    headers = {"Authorization": "Bearer nonsense"}
    if status == 403:
        key = add_key(api.unit_of_work, Role.SUBMITTER)
        headers = bearer(key)
    for _ in range(3):
        response = await api.client.get("/v1/audit-entries", headers=headers)
        assert response.status_code == status
    await api.client.get("/v1/series")
    api.app.state.refusals.write()

    ((who, facts),) = entries_of(api)
    assert facts == {"requests": 3, "addresses": 1}
    assert (who == "unknown") is (status == 401)
