"""Runs become model versions once, under conditions; versions are shown and retired."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID, uuid4

import pytest

from ml.config import NetworkConfig
from ml.structures import CERVIX
from services.api.idempotency import WorkRequest
from services.api.model_versions.errors import AlreadyPromotedError
from services.api.model_versions.service import Evaluation, Minimum, ModelVersionService
from services.core.lifecycle import AliasName, JobState
from services.core.queue import TaskName
from services.core.repositories.leases import Claim
from services.core.unit_of_work import UnitOfWork
from tests.factories.api import Api
from tests.factories.checkpoints import TINY_CONFIG
from tests.factories.model_versions import (
    add_dataset_version,
    add_run,
    add_version,
    set_alias,
)
from tests.factories.rows import add_job

pytestmark = pytest.mark.anyio


def new_run(api: Api, **values) -> UUID:
    storage = api.app.state.dependencies.storage
    version_id = add_dataset_version(api.unit_of_work(), storage)
    return add_run(api.unit_of_work(), storage, version_id, **values)


def new_version(api: Api, **values) -> UUID:
    return add_version(api.unit_of_work(), api.app.state.dependencies.storage, **values)


async def promote(api: Api, run_id: UUID, headers: dict[str, str] | None = None, **body):
    return await api.client.post(
        "/v1/model-versions", json={"run_id": str(run_id), **body}, headers=headers
    )


def claim(uow: UnitOfWork, task: TaskName, row_id: UUID) -> Claim:
    found = uow.leases.claim(task, row_id, owner="worker", seconds=60)
    assert found is not None
    return found


def fail_check(api: Api, version_id: str) -> None:
    with api.unit_of_work() as uow:
        check = claim(uow, TaskName.MODEL_VERSION_CHECK, UUID(version_id))
        uow.leases.fail(check, code="worse_than_production", detail="worse", context={})
        uow.commit()


class TestPromoting:
    async def test_a_run_becomes_a_queued_version(self, api: Api) -> None:
        run_id = new_run(api)

        response = await promote(
            api, run_id, name="cervix-1", minimum={"mean_dice": 0.9}, notes="first"
        )

        version = response.json()
        assert response.status_code == 202
        assert response.headers["Location"] == version["links"]["self"]
        assert (version["name"], version["origin"], version["state"]) == (
            "cervix-1",
            "run",
            "queued",
        )
        assert version["run_id"] == str(run_id)
        assert version["request"] == {
            "minimum": {"mean_dice": 0.9, "structures": {}},
            "evaluation_cases": 3,
            "margin": 0.05,
            "notes": "first",
        }
        (message,) = api.queue.messages
        assert (message.task, str(message.resource_id)) == (
            TaskName.MODEL_VERSION_CHECK,
            version["id"],
        )

    async def test_without_a_name_it_is_called_by_what_it_is(self, api: Api) -> None:
        run_id = new_run(api)

        version = (await promote(api, run_id)).json()

        assert version["name"] == f"resaunet-ce_lovasz-{run_id.hex[:8]}"

    async def test_a_run_is_promoted_once_unless_its_version_failed(self, api: Api) -> None:
        run_id = new_run(api)
        first = (await promote(api, run_id)).json()

        again = await promote(api, run_id, name="another")
        fail_check(api, first["id"])
        after_failure = await promote(api, run_id)

        assert (again.status_code, again.json()["code"]) == (409, "already_promoted")
        assert again.json()["context"]["model_version_id"] == first["id"]
        assert after_failure.status_code == 202

    async def test_a_name_and_weights_belong_to_one_version(self, api: Api) -> None:
        first = (await promote(api, new_run(api, seed=1), name="a")).json()

        same_name = await promote(api, new_run(api, seed=2), name="a")
        same_weights = await promote(api, new_run(api, seed=1), name="b")

        for response, same in ((same_name, "name"), (same_weights, "weights")):
            assert (response.status_code, response.json()["code"]) == (409, "model_version_exists")
            assert response.json()["context"] == {"model_version_id": first["id"], "same": same}

    async def test_a_key_makes_one_version(self, api: Api) -> None:
        run_id = new_run(api)

        first = await promote(api, run_id, headers={"Idempotency-Key": "k"})
        again = await promote(api, run_id, headers={"Idempotency-Key": "k"})
        other = await promote(api, run_id, headers={"Idempotency-Key": "k"}, margin=0.2)

        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
        assert len(api.queue.messages) == 1

    @pytest.mark.parametrize("state", [s for s in JobState if s is not JobState.SUCCEEDED])
    async def test_a_run_without_weights_is_refused(self, api: Api, state: JobState) -> None:
        response = await promote(api, new_run(api, state=state))

        assert (response.status_code, response.json()["code"]) == (409, "run_not_succeeded")
        assert response.json()["context"]["state"] == state

    async def test_other_structures_are_refused(self, api: Api) -> None:
        config = dataclasses.replace(TINY_CONFIG, network=NetworkConfig(width=0.125, class_count=3))

        response = await promote(api, new_run(api, config=config))

        assert (response.status_code, response.json()["code"]) == (422, "structures_differ")

    async def test_below_the_minimum_nothing_is_queued(self, api: Api) -> None:
        run_id = new_run(api, dice=0.8)
        minimum = {"mean_dice": 0.85, "structures": {"Bladder": 0.8, "Rectum": 0.81}}

        response = await promote(api, run_id, minimum=minimum)

        assert (response.status_code, response.json()["code"]) == (422, "below_minimum")
        assert response.json()["context"]["values"] == {
            "mean_dice": {"minimum": 0.85, "found": 0.8},
            "Rectum": {"minimum": 0.81, "found": pytest.approx(0.8)},
        }
        assert api.queue.messages == []
        assert (await api.client.get("/v1/model-versions")).json()["items"] == []

    @pytest.mark.parametrize(
        "body",
        [
            {"name": "a b"},
            {"name": "x" * 59},
            {"margin": 1.5},
            {"evaluation_cases": 0},
            {"minimum": {"structures": {"Liver": 0.5}}},
            {"minimum": {"mean_dice": 2}},
            {"notes": "\0"},
            {"colour": "red"},
        ],
    )
    async def test_a_bad_request_is_told(self, api: Api, body: dict) -> None:
        response = await promote(api, uuid4(), **body)

        assert (response.status_code, response.json()["code"]) == (422, "validation_error")

    async def test_an_unknown_run(self, api: Api) -> None:
        response = await promote(api, uuid4())

        assert (response.status_code, response.json()["code"]) == (404, "run_not_found")

    async def test_of_many_at_once_one_wins(self, api: Api) -> None:
        run_id = new_run(api)
        barrier = Barrier(4)

        def promote_now(number: int) -> bool:
            service = ModelVersionService(api.unit_of_work)
            evaluation = Evaluation(minimum=Minimum(), cases=1, margin=0.1, notes=None)
            request = WorkRequest(correlation_id="c", max_attempts=3, idempotency_key=None)
            barrier.wait()
            try:
                service.promote(run_id, f"name-{number}", evaluation, request)
            except AlreadyPromotedError:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(promote_now, range(4)))

        assert sorted(won) == [False, False, False, True]
        assert len(api.queue.messages) == 1


class TestShowing:
    async def test_details_name_run_dataset_and_aliases(self, api: Api) -> None:
        run_id = new_run(api)
        posted = (await promote(api, run_id)).json()
        set_alias(api.unit_of_work(), AliasName.SHADOW, UUID(posted["id"]))

        version = (await api.client.get(posted["links"]["self"])).json()

        assert version["run"]["id"] == str(run_id)
        assert version["run"]["test_dice"] == 0.9
        assert version["dataset_version"]["number"] == 1
        assert version["aliases"] == ["shadow"]
        assert version["card"] is None

    async def test_pages_and_filters(self, api: Api) -> None:
        states = (JobState.SUCCEEDED, JobState.FAILED, JobState.SUCCEEDED)
        ids = [
            str(new_version(api, name=f"v{number}", seed=number, state=state))
            for number, state in enumerate(states)
        ]

        async def listed(**query: str) -> list[str]:
            page = (await api.client.get("/v1/model-versions", params=query)).json()
            return [item["id"] for item in page["items"]]

        page = (await api.client.get("/v1/model-versions", params={"limit": 2})).json()
        assert await listed() == ids[::-1]
        assert await listed(cursor=page["next_cursor"]) == ids[:1]
        assert await listed(state="succeeded") == [ids[2], ids[0]]

    async def test_an_unknown_version(self, api: Api) -> None:
        path = f"/v1/model-versions/{uuid4()}"

        for response in (
            await api.client.get(path),
            await api.client.post(f"{path}/retire"),
            await api.client.get(f"{path}/export"),
            await api.client.get(f"{path}/shadow-contours"),
            await api.client.get(f"{path}/shadow-summary"),
        ):
            assert (response.status_code, response.json()["code"]) == (
                404,
                "model_version_not_found",
            )


class TestRetiring:
    async def test_a_version_is_retired_once(self, api: Api) -> None:
        path = f"/v1/model-versions/{new_version(api)}"

        first = await api.client.post(f"{path}/retire")
        again = await api.client.post(f"{path}/retire")

        assert first.status_code == 200
        assert first.json()["retired_at"] == again.json()["retired_at"] is not None
        assert (await api.client.get(path)).json()["links"]["retire"] is None

    async def test_not_while_an_alias_means_it(self, api: Api) -> None:
        version_id = new_version(api)
        set_alias(api.unit_of_work(), AliasName.PRODUCTION, version_id)

        response = await api.client.post(f"/v1/model-versions/{version_id}/retire")

        assert (response.status_code, response.json()["code"]) == (409, "model_version_in_use")
        assert response.json()["context"]["aliases"] == ["production"]

    async def test_not_before_it_was_checked(self, api: Api) -> None:
        version_id = new_version(api, state=JobState.QUEUED)

        response = await api.client.post(f"/v1/model-versions/{version_id}/retire")

        assert (response.status_code, response.json()["code"]) == (409, "model_version_not_ready")


def finish_shadow(api: Api, version_id: UUID, dice: float | None) -> UUID:
    """A job with an ended shadow; without a Dice it failed."""
    job_id = add_job(api.unit_of_work()).id
    with api.unit_of_work() as uow:
        shadow = uow.shadow_contours.add(job_id, version_id, correlation_id="c", max_attempts=3)
        work = claim(uow, TaskName.SHADOW_CONTOUR_RUN, shadow.id)
        if dice is None:
            uow.leases.fail(work, code="series_purged", detail="gone", context={})
        else:
            empty = {"dice": None, "hd95_mm": None, "surface_dice_2mm": None}
            scores: dict[str, dict] = dict.fromkeys(CERVIX.names, empty)
            scores["Bladder"] = {"dice": dice, "hd95_mm": 2, "surface_dice_2mm": 0.5}
            uow.leases.succeed(work, {"scores": scores})
        uow.commit()
    return job_id


class TestShadows:
    async def test_they_are_listed_and_summed_up(self, api: Api) -> None:
        version_id = new_version(api)
        job_ids = [finish_shadow(api, version_id, dice) for dice in (0.7, 0.9, None)]
        finish_shadow(api, new_version(api, name="other", seed=5), 0.1)
        path = f"/v1/model-versions/{version_id}"

        page = (await api.client.get(f"{path}/shadow-contours", params={"limit": 2})).json()
        rest = await api.client.get(
            f"{path}/shadow-contours", params={"cursor": page["next_cursor"]}
        )
        failed = await api.client.get(f"{path}/shadow-contours", params={"state": "failed"})
        summary = (await api.client.get(f"{path}/shadow-summary")).json()

        listed = [item["job_id"] for item in (*page["items"], *rest.json()["items"])]
        assert listed == [str(job_id) for job_id in job_ids[::-1]]
        assert page["items"][1]["scores"]["Bladder"]["dice"] == 0.9
        assert [item["error"]["code"] for item in failed.json()["items"]] == ["series_purged"]
        assert summary["count"] == 3
        assert summary["states"] == {"succeeded": 2, "failed": 1}
        assert summary["failures"] == {"series_purged": 1}
        assert summary["agreement"]["Bladder"] == {
            "dice": {"mean": pytest.approx(0.8), "jobs": 2},
            "hd95_mm": {"mean": 2.0, "jobs": 2},
            "surface_dice_2mm": {"mean": 0.5, "jobs": 2},
        }
        assert summary["agreement"]["Rectum"]["dice"] == {"mean": None, "jobs": 0}

    async def test_a_job_never_shows_them(self, api: Api) -> None:
        version_id = new_version(api)
        job_id = finish_shadow(api, version_id, 0.7)

        job = await api.client.get(f"/v1/contour-jobs/{job_id}")

        assert str(version_id) not in job.text
        assert "shadow" not in job.text
