"""Experiments are planned, checked against their cases, queued, stopped and gone on with."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.core.lifecycle import JobState
from tests.factories.api import Api
from tests.factories.experiments import version_facts
from tests.factories.run_progress import (
    fail,
    post_experiment,
    record_epochs,
    runs_of,
    start,
    succeed,
    version_of,
)

pytestmark = pytest.mark.anyio


class TestPlanning:
    async def test_a_grid_is_one_run_for_every_combination_and_seed(self, api: Api) -> None:
        response = await post_experiment(
            api,
            version_of(api),
            kind="grid_search",
            axes={"training.learning_rate": [0.01, 0.001], "training.batch_size": [4, 8]},
            seeds=[0, 1],
        )

        assert response.status_code == 202
        experiment = response.json()
        assert response.headers["Location"] == f"/v1/experiments/{experiment['id']}"
        assert experiment["runs"] == {"queued": 8}
        runs = await runs_of(api, experiment["id"])
        assert [run["position"] for run in runs] == list(range(8))
        assert [run["queue_position"] for run in runs] == list(range(8))
        settings = {
            (r["config"]["training"]["learning_rate"], r["config"]["training"]["batch_size"])
            for r in runs
        }
        assert settings == {(0.01, 4), (0.01, 8), (0.001, 4), (0.001, 8)}
        assert {str(sent) for sent in api.queue.resource_ids} == {run["id"] for run in runs}
        assert {message.queue for message in api.queue.messages} == {"training"}

    async def test_without_axes_a_grid_is_the_papers(self, api: Api) -> None:
        experiment = (await post_experiment(api, version_of(api), kind="grid_search")).json()

        assert experiment["request"]["axes"] == {
            "training.learning_rate": [0.1, 0.01, 0.001, 0.0001],
            "training.batch_size": [16, 32, 64],
        }
        assert experiment["runs"] == {"queued": 12}

    @pytest.mark.parametrize(
        ("kind", "labels"),
        [
            ("loss_comparison", ["loss-ce", "loss-sce", "loss-dice", "loss-lovasz"]),
            (
                "network_comparison",
                [
                    "network-unet",
                    "network-attention_unet",
                    "network-unet_plus_plus",
                    "network-resaunet",
                ],
            ),
        ],
    )
    async def test_a_comparison_is_the_papers_with_three_seeds(
        self, api: Api, kind: str, labels: list[str]
    ) -> None:
        experiment = (await post_experiment(api, version_of(api), kind=kind)).json()

        runs = await runs_of(api, experiment["id"])
        assert [run["label"] for run in runs] == [label for label in labels for _ in range(3)]
        assert [run["seed"] for run in runs] == [0, 1, 2] * 4

    async def test_budget_and_settings_reach_every_run(self, api: Api) -> None:
        experiment = (
            await post_experiment(
                api,
                version_of(api),
                kind="loss_comparison",
                losses=["dice", "ce"],
                seeds=[4],
                recipe="paper",
                budget={"max_epochs": 3, "max_seconds": 60},
                settings={"training.batch_size": 4},
            )
        ).json()

        for run in await runs_of(api, experiment["id"]):
            training = run["config"]["training"]
            assert (training["max_epochs"], training["max_seconds"]) == (3, 60)
            assert (training["batch_size"], training["seed"]) == (4, 4)
            assert run["max_epochs"] == 3

    async def test_a_dry_run_stores_nothing(self, api: Api) -> None:
        response = await post_experiment(api, version_of(api), kind="grid_search", dry_run=True)

        assert response.status_code == 200
        assert len(response.json()["runs"]) == 12
        assert response.json()["estimate"]["compute_seconds"] is None
        assert response.json()["estimate"]["epochs"] == 12 * 50
        assert (await api.client.get("/v1/experiments")).json()["items"] == []
        assert api.queue.messages == []

    async def test_an_estimate_comes_from_epochs_measured_here(self, api: Api) -> None:
        version_id = version_of(api)
        first = (await post_experiment(api, version_id, budget={"max_epochs": 4})).json()
        claim = start(api, (await runs_of(api, first["id"]))[0]["id"])
        record_epochs(api, claim, 2)

        longer = await post_experiment(api, version_id, budget={"max_epochs": 6}, dry_run=True)
        estimate = longer.json()
        wide = {"network.width": 0.5}
        other = await post_experiment(api, version_id, settings=wide, dry_run=True)

        assert estimate["estimate"]["compute_seconds"] == pytest.approx(60)
        assert other.json()["estimate"]["compute_seconds"] is None

    async def test_a_key_makes_one_experiment(self, api: Api) -> None:
        version_id = version_of(api)
        key = {"Idempotency-Key": "tonight"}

        first = await post_experiment(api, version_id, headers=key)
        again = await post_experiment(api, version_id, headers=key)
        other = await post_experiment(api, version_id, headers=key, seeds=[7])

        assert again.json()["id"] == first.json()["id"]
        assert len(api.queue.messages) == 1
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


class TestBadInput:
    @pytest.mark.parametrize(
        ("values", "code"),
        [
            ({"settings": {"training.learning_rate": 0}}, "config_invalid"),
            ({"settings": {"training.learning_rate": -1.0}}, "config_invalid"),
            ({"settings": {"training.momentum": 0.9}}, "config_invalid"),
            ({"settings": {"loss.name": "focal"}}, "config_invalid"),
            ({"settings": {"network.class_count": 4}}, "config_invalid"),
            (
                {"kind": "grid_search", "axes": {"training.batch_size": [8, "many"]}},
                "config_invalid",
            ),
            ({"kind": "loss_comparison", "losses": ["focal"]}, "validation_error"),
            ({"losses": ["ce"]}, "validation_error"),
            ({"kind": "sorcery"}, "validation_error"),
            ({"recipe": "grandma"}, "validation_error"),
            ({"seeds": [1, 1]}, "validation_error"),
            ({"seeds": []}, "validation_error"),
            ({"budget": {"max_epochs": 0}}, "validation_error"),
            ({"name": "line\nbreak"}, "validation_error"),
            ({"surprise": 1}, "validation_error"),
            ({"settings": {"training.batch_size": 401}}, "batch_larger_than_training_set"),
            ({"settings": {"structure_set": "thorax"}}, "structures_differ"),
            (
                {
                    "kind": "grid_search",
                    "axes": {
                        "training.batch_size": list(range(1, 51)),
                        "training.patience": list(range(1, 12)),
                    },
                },
                "too_many_runs",
            ),
        ],
    )
    async def test_what_cannot_be_trained_is_refused_now(
        self, api: Api, values: dict[str, Any], code: str
    ) -> None:
        response = await post_experiment(api, version_of(api), **values)

        assert (response.status_code, response.json()["code"]) == (422, code)
        assert api.queue.messages == []
        assert (await api.client.get("/v1/experiments")).json()["items"] == []

    async def test_a_value_that_is_no_number_is_refused(self, api: Api) -> None:
        body = {"kind": "training", "dataset_version_id": version_of(api)}
        text = json.dumps(body | {"settings": {"training.learning_rate": float("nan")}})

        response = await api.client.post(
            "/v1/experiments", content=text, headers={"Content-Type": "application/json"}
        )

        assert (response.status_code, response.json()["code"]) == (422, "validation_error")

    @pytest.mark.parametrize(
        ("values", "status", "code"),
        [
            ({"state": JobState.RUNNING, "facts": None}, 409, "dataset_not_ready"),
            ({"state": JobState.FAILED, "facts": None}, 409, "dataset_not_ready"),
            ({"facts": version_facts(lacking=["CTV-N"])}, 422, "dataset_lacks_structure"),
            ({"facts": version_facts(training_slices=4)}, 422, "batch_larger_than_training_set"),
        ],
    )
    async def test_a_version_that_cannot_train_is_refused(
        self, api: Api, values: dict[str, Any], status: int, code: str
    ) -> None:
        response = await post_experiment(api, version_of(api, **values))

        assert (response.status_code, response.json()["code"]) == (status, code)
        assert api.queue.messages == []

    @pytest.mark.parametrize("part", ["training", "validation"])
    async def test_a_split_without_cases_is_refused(self, api: Api, part: str) -> None:
        facts = version_facts()
        facts["parts"][part]["cases"] = 0

        response = await post_experiment(api, version_of(api, facts=facts))

        assert response.json()["code"] == "split_too_small"
        assert response.json()["context"]["part"] == part

    async def test_a_version_that_does_not_exist_is_not_found(self, api: Api) -> None:
        response = await post_experiment(api, str(uuid4()))

        assert (response.status_code, response.json()["code"]) == (404, "dataset_version_not_found")

    @pytest.mark.parametrize(
        "path",
        ["experiments/{}", "experiments/{}/runs", "experiments/{}/leaderboard", "runs/{}/epochs"],
    )
    async def test_unknown_ids_are_not_found(self, api: Api, path: str) -> None:
        response = await api.client.get(f"/v1/{path.format(uuid4())}")

        assert response.status_code == 404
        assert response.json()["code"] in ("experiment_not_found", "run_not_found")


class TestStoppingAndGoingOn:
    async def test_a_cancelled_experiment_ends_its_queued_runs(self, api: Api) -> None:
        experiment = (await post_experiment(api, version_of(api), seeds=[0, 1, 2])).json()
        runs = await runs_of(api, experiment["id"])
        succeed(api, start(api, runs[0]["id"]), 0.5)
        start(api, runs[1]["id"])

        response = await api.client.post(f"/v1/experiments/{experiment['id']}/cancel")

        assert response.status_code == 202
        assert response.json()["runs"] == {"succeeded": 1, "running": 1, "cancelled": 1}
        running = (await api.client.get(f"/v1/runs/{runs[1]['id']}")).json()
        assert running["cancel_requested"]

    @pytest.mark.parametrize("way", ["resume", "retry"])
    async def test_a_failed_run_is_taken_up_again(self, api: Api, way: str) -> None:
        experiment = (await post_experiment(api, version_of(api))).json()
        run = (await runs_of(api, experiment["id"]))[0]
        claim = start(api, run["id"])
        record_epochs(api, claim, 2)
        fail(api, claim)
        with api.unit_of_work() as uow:
            assert uow.experiments.conclude() == []
            uow.commit()
        api.queue.messages.clear()

        response = await api.client.post(f"/v1/runs/{run['id']}/{way}")

        found = response.json()
        assert response.status_code == 202
        assert (found["state"], found["error"], found["attempt"]) == ("queued", None, 0)
        assert found["epochs"] == (2 if way == "resume" else 0)
        epochs = (await api.client.get(f"/v1/runs/{run['id']}/epochs")).json()["items"]
        assert len(epochs) == found["epochs"]
        assert [str(sent) for sent in api.queue.resource_ids] == [run["id"]]
        with api.unit_of_work() as uow:
            row = uow.runs.get(UUID(run["id"]))
        assert row.restart_after == (0 if way == "resume" else 1)
        again = (await api.client.get(f"/v1/experiments/{experiment['id']}")).json()
        assert again["state"] == "running"

    async def test_a_run_is_taken_up_once_however_often_its_key_comes(self, api: Api) -> None:
        experiment = (await post_experiment(api, version_of(api))).json()
        run = (await runs_of(api, experiment["id"]))[0]
        fail(api, start(api, run["id"]))
        api.queue.messages.clear()
        path, key = f"/v1/runs/{run['id']}", {"Idempotency-Key": "k"}

        first, again = [await api.client.post(f"{path}/retry", headers=key) for _ in range(2)]
        other_way = await api.client.post(f"{path}/resume", headers=key)
        without = await api.client.post(f"{path}/retry")

        assert (first.status_code, again.status_code) == (202, 202)
        assert again.json() == first.json()
        assert len(api.queue.messages) == 1
        assert other_way.json()["code"] == "idempotency_key_reused"
        assert without.json()["code"] == "run_not_resumable"

    async def test_a_run_that_goes_well_is_left_alone(self, api: Api) -> None:
        experiment = (await post_experiment(api, version_of(api), seeds=[0, 1])).json()
        runs = await runs_of(api, experiment["id"])
        succeed(api, start(api, runs[0]["id"]), 0.5)

        done = await api.client.post(f"/v1/runs/{runs[0]['id']}/resume")
        waiting = await api.client.post(f"/v1/runs/{runs[1]['id']}/retry")
        cancelled = await api.client.post(f"/v1/runs/{runs[0]['id']}/cancel")

        assert (done.status_code, done.json()["code"]) == (409, "run_not_resumable")
        assert (waiting.status_code, waiting.json()["code"]) == (409, "run_not_resumable")
        assert (cancelled.status_code, cancelled.json()["code"]) == (409, "illegal_transition")

    async def test_a_run_without_its_cases_cannot_go_on(self, api: Api) -> None:
        version_id = version_of(api)
        experiment = (await post_experiment(api, version_id)).json()
        run = (await runs_of(api, experiment["id"]))[0]
        await api.client.post(f"/v1/runs/{run['id']}/cancel")
        with api.unit_of_work() as uow:
            version = uow.dataset_versions.get(UUID(version_id))
            version.purged_at = version.created_at
            uow.commit()

        response = await api.client.post(f"/v1/runs/{run['id']}/resume")

        assert (response.status_code, response.json()["code"]) == (410, "dataset_purged")
