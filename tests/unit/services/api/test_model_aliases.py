"""Aliases change by compare-and-swap and go back; of two changes at once one wins."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID, uuid4

import pytest

from services.api.model_aliases.errors import AliasChangedError
from services.api.model_aliases.service import ModelAliasService, WantedChange, versions_before
from services.core.lifecycle import AliasName, JobState
from services.core.tables.model_versions import ModelAliasChange
from tests.factories.api import Api
from tests.factories.model_versions import add_version

pytestmark = pytest.mark.anyio

PRODUCTION = "/v1/model-aliases/production"


def new_version(api: Api, number: int, **values) -> str:
    storage = api.app.state.dependencies.storage
    return str(add_version(api.unit_of_work(), storage, f"v{number}", seed=number, **values))


async def put(api: Api, version_id: str | None, replaces: str | None, alias: str = "production"):
    body = {"model_version_id": version_id, "replaces": replaces, "reason": "a test"}
    return await api.client.put(f"/v1/model-aliases/{alias}", json=body)


async def production(api: Api) -> str | None:
    items = (await api.client.get("/v1/model-aliases")).json()["items"]
    return {item["alias"]: item["model_version_id"] for item in items}["production"]


class TestChanging:
    async def test_at_first_they_mean_no_version(self, api: Api) -> None:
        items = (await api.client.get("/v1/model-aliases")).json()["items"]

        assert items == [
            {"alias": alias, "model_version_id": None, "revision": 0, "changed_at": None}
            for alias in ("production", "shadow")
        ]

    async def test_a_version_takes_and_leaves_an_alias(self, api: Api) -> None:
        version_id = new_version(api, 1)

        taken = await put(api, version_id, None)
        left = await put(api, None, version_id)

        assert (taken.status_code, taken.json()["model_version_id"]) == (200, version_id)
        assert taken.json()["revision"] == 1
        assert (left.json()["model_version_id"], left.json()["revision"]) == (None, 2)

    async def test_what_it_means_already_is_no_change(self, api: Api) -> None:
        version_id = new_version(api, 1)
        await put(api, version_id, None)

        again = await put(api, version_id, version_id)

        assert (again.status_code, again.json()["revision"]) == (200, 1)

    async def test_replacing_something_else_is_refused(self, api: Api) -> None:
        first, second = new_version(api, 1), new_version(api, 2)
        await put(api, first, None)

        response = await put(api, second, None)

        assert (response.status_code, response.json()["code"]) == (409, "alias_changed")
        assert response.json()["context"]["model_version_id"] == first
        assert await production(api) == first

    @pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.FAILED])
    async def test_an_unchecked_version_is_refused(self, api: Api, state: JobState) -> None:
        response = await put(api, new_version(api, 1, state=state), None)

        assert (response.status_code, response.json()["code"]) == (409, "model_version_not_ready")

    async def test_a_retired_version_is_refused(self, api: Api) -> None:
        version_id = new_version(api, 1)
        await api.client.post(f"/v1/model-versions/{version_id}/retire")

        response = await put(api, version_id, None)

        assert (response.status_code, response.json()["code"]) == (409, "model_version_retired")

    async def test_bad_requests(self, api: Api) -> None:
        unknown = await put(api, str(uuid4()), None)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "model_version_not_found")
        for path, body in (
            (PRODUCTION, {}),
            (PRODUCTION, {"model_version_id": None}),
            (PRODUCTION, {"model_version_id": None, "replaces": "now"}),
            ("/v1/model-aliases/staging", {"model_version_id": None, "replaces": None}),
        ):
            response = await api.client.put(path, json=body)
            assert (response.status_code, response.json()["code"]) == (422, "validation_error")

    async def test_of_many_at_once_one_wins(self, api: Api) -> None:
        versions = [UUID(new_version(api, number)) for number in range(4)]
        barrier = Barrier(4)

        def change(version_id: UUID) -> bool:
            service = ModelAliasService(api.unit_of_work)
            wanted = WantedChange(
                alias=AliasName.PRODUCTION, model_version_id=version_id, replaces=None, reason=None
            )
            barrier.wait()
            try:
                service.change(wanted)
            except AliasChangedError:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(change, versions))

        assert sorted(won) == [False, False, False, True]
        assert await production(api) == str(versions[won.index(True)])
        history = (await api.client.get(f"{PRODUCTION}/history")).json()
        assert [change["revision"] for change in history["items"]] == [1]

    async def test_a_change_since_it_was_seen_is_noticed(self, api: Api) -> None:
        versions = [UUID(new_version(api, number)) for number in range(2)]
        with api.unit_of_work() as uow:
            seen = uow.model_aliases.get(AliasName.SHADOW)
        for version_id, changed in zip(versions, (True, False), strict=True):
            with api.unit_of_work() as uow:
                change = ModelAliasChange(model_version_id=version_id, is_rollback=False)
                assert uow.model_aliases.change(seen, change) is changed
                uow.commit()


class TestRollingBack:
    async def test_it_goes_back_step_by_step_to_the_weights_of_the_settings(self, api: Api) -> None:
        first, second = new_version(api, 1), new_version(api, 2)
        await put(api, first, None)
        await put(api, second, first)

        meanings = []
        for _ in range(2):
            response = await api.client.post(f"{PRODUCTION}/rollback", json={"reason": "worse"})
            meanings.append(response.json()["model_version_id"])
        nothing = await api.client.post(f"{PRODUCTION}/rollback")

        assert meanings == [first, None]
        assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_roll_back")
        history = (await api.client.get(f"{PRODUCTION}/history")).json()["items"]
        assert [change["is_rollback"] for change in history] == [True, True, False, False]
        assert history[0]["reason"] == "worse"

    async def test_retired_versions_are_passed_over(self, api: Api) -> None:
        versions = [new_version(api, number) for number in range(3)]
        for version_id, before in zip(versions, [None, *versions], strict=False):
            await put(api, version_id, before)
        await api.client.post(f"/v1/model-versions/{versions[1]}/retire")

        response = await api.client.post(f"{PRODUCTION}/rollback")

        assert response.json()["model_version_id"] == versions[0]

    async def test_a_key_rolls_back_once(self, api: Api) -> None:
        first, second = new_version(api, 1), new_version(api, 2)
        await put(api, first, None)
        await put(api, second, first)

        for _ in range(2):
            response = await api.client.post(
                f"{PRODUCTION}/rollback", headers={"Idempotency-Key": "k"}
            )
            assert (response.status_code, response.json()["model_version_id"]) == (200, first)

    async def test_the_history_has_pages(self, api: Api) -> None:
        version_id = new_version(api, 1)
        await put(api, version_id, None)
        await put(api, None, version_id)

        page = (await api.client.get(f"{PRODUCTION}/history", params={"limit": 1})).json()
        rest = await api.client.get(f"{PRODUCTION}/history", params={"cursor": page["next_cursor"]})

        assert [item["revision"] for item in page["items"]] == [2]
        assert [item["replaced_id"] for item in page["items"]] == [version_id]
        assert [item["revision"] for item in rest.json()["items"]] == [1]


A, B, C = (UUID(int=number) for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("changes", "before"),
    [
        ([], []),
        ([(A, False)], [None]),
        ([(A, False), (B, False)], [None, A]),
        ([(A, False), (B, False), (A, True)], [None]),
        ([(A, False), (B, False), (A, True), (C, False)], [None, A]),
        ([(A, False), (B, False), (None, True)], []),
        ([(A, False), (None, False)], [None, A]),
        ([(A, False), (B, False), (A, False), (B, True)], [None, A]),
    ],
)
def test_what_was_rolled_back_from_is_forgotten(
    changes: list[tuple[UUID | None, bool]], before: list[UUID | None]
) -> None:
    rows = [ModelAliasChange(model_version_id=v, is_rollback=back) for v, back in changes]

    assert versions_before(rows) == before
