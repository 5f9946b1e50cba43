"""Experiments are planned, checked against their cases, queued, watched and stopped."""

import csv
import io
import json
import math
from typing import Any
from uuid import UUID, uuid4

import pytest

from ml.evaluation.rows import column_names, read_rows
from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.storage import StoredKind
from tests.factories.api import Api
from tests.factories.experiments import add_dataset_version, version_facts
from tests.factories.run_progress import fail, record_epochs, start, succeed
from tests.factories.scores import make_score

pytestmark = pytest.mark.anyio


def version_of(api: Api, **values: Any) -> str:
    return str(add_dataset_version(api.unit_of_work(), **values).id)


async def post(api: Api, version_id: str, headers: dict[str, str] | None = None, **values: Any):
    body = {"kind": "training", "dataset_version_id": version_id} | values
    return await api.client.post("/v1/experiments", json=body, headers=headers)


async def runs_of(api: Api, experiment_id: str) -> list[dict[str, Any]]:
    found = await api.client.get(f"/v1/experiments/{experiment_id}/runs?limit=200")
    return found.json()["items"]


class TestPlanning:
    async def test_a_grid_is_one_run_for_every_combination_and_seed(self, api: Api) -> None:
        response = await post(
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
        experiment = (await post(api, version_of(api), kind="grid_search")).json()

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
        experiment = (await post(api, version_of(api), kind=kind)).json()

        runs = await runs_of(api, experiment["id"])
        assert [run["label"] for run in runs] == [label for label in labels for _ in range(3)]
        assert [run["seed"] for run in runs] == [0, 1, 2] * 4

    async def test_budget_and_settings_reach_every_run(self, api: Api) -> None:
        experiment = (
            await post(
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
        response = await post(api, version_of(api), kind="grid_search", dry_run=True)

        assert response.status_code == 200
        assert len(response.json()["runs"]) == 12
        assert response.json()["estimate"]["compute_seconds"] is None
        assert response.json()["estimate"]["epochs"] == 12 * 50
        assert (await api.client.get("/v1/experiments")).json()["items"] == []
        assert api.queue.messages == []

    async def test_an_estimate_comes_from_epochs_measured_here(self, api: Api) -> None:
        version_id = version_of(api)
        first = (await post(api, version_id, budget={"max_epochs": 4})).json()
        claim = start(api, (await runs_of(api, first["id"]))[0]["id"])
        record_epochs(api, claim, 2)

        estimate = (await post(api, version_id, budget={"max_epochs": 6}, dry_run=True)).json()
        other = await post(api, version_id, settings={"network.width": 0.5}, dry_run=True)

        assert estimate["estimate"]["compute_seconds"] == pytest.approx(60)
        assert other.json()["estimate"]["compute_seconds"] is None

    async def test_a_key_makes_one_experiment(self, api: Api) -> None:
        version_id = version_of(api)
        key = {"Idempotency-Key": "tonight"}

        first = await post(api, version_id, headers=key)
        again = await post(api, version_id, headers=key)
        other = await post(api, version_id, headers=key, seeds=[7])

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
        response = await post(api, version_of(api), **values)

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
        response = await post(api, version_of(api, **values))

        assert (response.status_code, response.json()["code"]) == (status, code)
        assert api.queue.messages == []

    @pytest.mark.parametrize("part", ["training", "validation"])
    async def test_a_split_without_cases_is_refused(self, api: Api, part: str) -> None:
        facts = version_facts()
        facts["parts"][part]["cases"] = 0

        response = await post(api, version_of(api, facts=facts))

        assert response.json()["code"] == "split_too_small"
        assert response.json()["context"]["part"] == part

    async def test_a_version_that_does_not_exist_is_not_found(self, api: Api) -> None:
        response = await post(api, str(uuid4()))

        assert (response.status_code, response.json()["code"]) == (404, "dataset_version_not_found")

    @pytest.mark.parametrize(
        "path",
        ["experiments/{}", "experiments/{}/runs", "experiments/{}/leaderboard", "runs/{}/epochs"],
    )
    async def test_unknown_ids_are_not_found(self, api: Api, path: str) -> None:
        response = await api.client.get(f"/v1/{path.format(uuid4())}")

        assert response.status_code == 404
        assert response.json()["code"] in ("experiment_not_found", "run_not_found")


class TestWatching:
    async def test_progress_counts_epochs_and_tells_what_is_left(self, api: Api) -> None:
        experiment = (
            await post(api, version_of(api), seeds=[0, 1], budget={"max_epochs": 4})
        ).json()
        runs = await runs_of(api, experiment["id"])
        record_epochs(api, start(api, runs[0]["id"]), 2)

        found = (await api.client.get(f"/v1/experiments/{experiment['id']}")).json()
        run = (await api.client.get(f"/v1/runs/{runs[0]['id']}")).json()

        assert found["runs"] == {"running": 1, "queued": 1}
        assert (found["epochs"], found["progress"]) == (2, 0.25)
        assert found["eta_seconds"] == pytest.approx(60)
        assert (run["epochs"], run["eta_seconds"]) == (2, pytest.approx(20))
        assert run["best_mean_dice"] == 0.5

    async def test_epochs_are_listed_in_order_by_pages(self, api: Api) -> None:
        experiment = (await post(api, version_of(api))).json()
        run = (await runs_of(api, experiment["id"]))[0]
        record_epochs(api, start(api, run["id"]), 5)

        first = (await api.client.get(f"/v1/runs/{run['id']}/epochs?limit=3")).json()
        path = f"/v1/runs/{run['id']}/epochs?limit=3&cursor={first['next_cursor']}"
        second = (await api.client.get(path)).json()

        assert [epoch["epoch"] for epoch in first["items"]] == [1, 2, 3]
        assert [epoch["epoch"] for epoch in second["items"]] == [4, 5]
        assert second["next_cursor"] is None
        assert first["items"][0]["validation_dice"] == {"Bladder": 0.5, "Rectum": None}

    async def test_an_epoch_that_comes_again_is_counted_once(self, api: Api) -> None:
        experiment = (await post(api, version_of(api))).json()
        run = (await runs_of(api, experiment["id"]))[0]
        claim = start(api, run["id"])
        record_epochs(api, claim, 2)
        record_epochs(api, claim, 2)

        found = (await api.client.get(f"/v1/runs/{run['id']}")).json()

        assert (found["epochs"], found["training_seconds"]) == (2, 20.0)

    async def test_the_stream_tells_everything_and_ends_with_the_last_run(self, api: Api) -> None:
        experiment = (await post(api, version_of(api))).json()
        run = (await runs_of(api, experiment["id"]))[0]
        claim = start(api, run["id"])
        record_epochs(api, claim, 2)
        succeed(api, claim, 0.8)
        with api.unit_of_work() as uow:
            uow.experiments.conclude()
            uow.commit()

        response = await api.client.get(f"/v1/experiments/{experiment['id']}/events")

        assert response.headers["Content-Type"].startswith("text/event-stream")
        events = [block.split("\n", 1) for block in response.text.strip().split("\n\n")]
        names = [name.removeprefix("event: ") for name, _ in events]
        assert names == ["epoch", "epoch", "run", "experiment", "end"]
        values = [json.loads(data.removeprefix("data: ")) for _, data in events]
        assert [value["epoch"] for value in values[:2]] == [1, 2]
        assert values[2]["mean_dice"] == 0.8
        assert values[3]["state"] == "finished"

    async def test_lists_are_cut_and_filtered(self, api: Api) -> None:
        version_id, other = version_of(api), version_of(api)
        made = [(await post(api, version_id)).json()["id"] for _ in range(3)]
        await post(api, other, kind="loss_comparison")

        first = await api.client.get(f"/v1/experiments?limit=2&dataset_version_id={version_id}")
        cursor = first.json()["next_cursor"]
        path = f"/v1/experiments?limit=2&dataset_version_id={version_id}&cursor={cursor}"
        second = await api.client.get(path)
        comparisons = await api.client.get("/v1/experiments?kind=loss_comparison")

        found = [item["id"] for page in (first, second) for item in page.json()["items"]]
        assert found == made[::-1]
        assert second.json()["next_cursor"] is None
        assert len(comparisons.json()["items"]) == 1


class TestResults:
    async def test_the_leaderboard_ranks_labels_over_their_seeds(self, api: Api) -> None:
        experiment = (
            await post(
                api, version_of(api), kind="loss_comparison", losses=["ce", "dice"], seeds=[0, 1]
            )
        ).json()
        runs = await runs_of(api, experiment["id"])
        for run, dice in zip(runs[:3], (0.5, 0.7, 0.9), strict=True):
            succeed(api, start(api, run["id"]), dice)
        fail(api, start(api, runs[3]["id"]))

        board = await api.client.get(f"/v1/experiments/{experiment['id']}/leaderboard")

        best, worse = board.json()["places"]
        assert (best["label"], best["mean_dice"], best["failed"]) == ("loss-dice", 0.9, 1)
        assert best["best_run_id"] == runs[2]["id"]
        assert (worse["label"], worse["succeeded"]) == ("loss-ce", 2)
        assert worse["mean_dice"] == pytest.approx(0.6)
        assert worse["spread"] == pytest.approx(0.2)
        assert worse["test_dice"] == pytest.approx(0.5)

    async def test_scores_are_what_the_researchers_report_reads(self, api: Api, tmp_path) -> None:
        experiment = (await post(api, version_of(api))).json()
        run = (await runs_of(api, experiment["id"]))[0]
        empties = {
            "true_positive_slices": 0,
            "false_positive_slices": 0,
            "false_negative_slices": 4,
        }
        missed = make_score(1, dice=0.0, hd95_mm=float("inf"), **empties)
        absent = make_score(2, dice=float("nan"), hd95_mm=float("nan"))
        rows = [make_score(0, dice=0.75), missed, absent]
        with api.unit_of_work() as uow:
            columns = [
                {
                    name: None if isinstance(value, float) and math.isnan(value) else value
                    for name, value in vars_of(row).items()
                    if name not in ("run", "seed")
                }
                for row in rows
            ]
            uow.runs.replace_scores(UUID(run["id"]), columns)
            uow.commit()

        text = (await api.client.get(f"/v1/experiments/{experiment['id']}/scores.csv")).text
        page = (await api.client.get(f"/v1/runs/{run['id']}/scores?limit=2")).json()

        assert next(csv.reader(io.StringIO(text))) == column_names()
        (tmp_path / "scores.csv").write_text(text)
        read = read_rows(tmp_path / "scores.csv")
        assert [row.run for row in read] == ["training"] * 3
        assert read[0].dice == 0.75
        assert read[1].hd95_mm == float("inf")
        assert math.isnan(read[2].dice)
        assert page["items"][0]["dice"] == 0.75
        assert (page["items"][1]["hd95_mm"], page["items"][1]["is_missed"]) == (None, True)
        assert page["next_cursor"] is not None

    async def test_curves_are_told_as_csv(self, api: Api) -> None:
        experiment = (await post(api, version_of(api))).json()
        run = (await runs_of(api, experiment["id"]))[0]
        record_epochs(api, start(api, run["id"]), 2)

        text = (await api.client.get(f"/v1/experiments/{experiment['id']}/epochs.csv")).text

        lines = list(csv.DictReader(io.StringIO(text)))
        assert [line["epoch"] for line in lines] == ["1", "2"]
        assert lines[1]["training_loss"] == "0.5"


def vars_of(score) -> dict[str, Any]:
    return {name: getattr(score, name) for name in column_names()}


class TestStoppingAndGoingOn:
    async def test_a_cancelled_experiment_ends_its_queued_runs(self, api: Api) -> None:
        experiment = (await post(api, version_of(api), seeds=[0, 1, 2])).json()
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
        experiment = (await post(api, version_of(api))).json()
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

    async def test_a_run_that_goes_well_is_left_alone(self, api: Api) -> None:
        experiment = (await post(api, version_of(api), seeds=[0, 1])).json()
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
        experiment = (await post(api, version_id)).json()
        run = (await runs_of(api, experiment["id"]))[0]
        await api.client.post(f"/v1/runs/{run['id']}/cancel")
        with api.unit_of_work() as uow:
            version = uow.dataset_versions.get(UUID(version_id))
            version.purged_at = version.created_at
            uow.commit()

        response = await api.client.post(f"/v1/runs/{run['id']}/resume")

        assert (response.status_code, response.json()["code"]) == (410, "dataset_purged")


class TestReports:
    async def finished(self, api: Api, version_id: str) -> str:
        experiment = (await post(api, version_id)).json()
        run = (await runs_of(api, experiment["id"]))[0]
        succeed(api, start(api, run["id"]), 0.5)
        return experiment["id"]

    async def post_report(self, api: Api, *experiment_ids: str):
        body = {"experiment_ids": experiment_ids}
        return await api.client.post("/v1/experiment-reports", json=body)

    async def test_experiments_are_laid_side_by_side(self, api: Api) -> None:
        version_id = version_of(api)
        ids = [await self.finished(api, version_id) for _ in range(2)]
        api.queue.messages.clear()

        response = await self.post_report(api, *ids)

        assert response.status_code == 202
        report = response.json()
        assert report["links"]["experiments"] == [f"/v1/experiments/{i}" for i in ids]
        assert api.queue.messages[0].task is TaskName.REPORT_WRITE
        listed = await api.client.get(f"/v1/experiment-reports?experiment_id={ids[1]}")
        assert [item["id"] for item in listed.json()["items"]] == [report["id"]]

    async def test_a_written_report_gives_its_files(self, api: Api) -> None:
        report = (await self.post_report(api, await self.finished(api, version_of(api)))).json()
        early = await api.client.get(f"/v1/experiment-reports/{report['id']}/files/report.html")
        report_id = UUID(report["id"])
        storage = api.app.state.dependencies.storage
        with api.unit_of_work() as uow:
            claim = uow.leases.claim(TaskName.REPORT_WRITE, report_id, owner="w", seconds=60)
            assert claim is not None
            with storage.staging() as folder:
                (folder / "report.html").write_text("<html></html>")
                storage.publish(StoredKind.REPORTS, folder, report_id)
            uow.leases.succeed(claim, {"summary": {}, "file_names": ["report.html"]})
            uow.commit()

        page = await api.client.get(f"/v1/experiment-reports/{report['id']}/files/report.html")
        shown = (await api.client.get(f"/v1/experiment-reports/{report['id']}")).json()
        for name in ("other.html", "..%2F..%2Fcervicontour.sqlite"):
            other = await api.client.get(f"/v1/experiment-reports/{report['id']}/files/{name}")
            assert other.status_code == 404

        assert (early.status_code, early.json()["code"]) == (409, "report_not_ready")
        assert page.text == "<html></html>"
        assert page.headers["Content-Security-Policy"] == "sandbox"
        assert shown["links"]["page"] == f"/v1/experiment-reports/{report['id']}/files/report.html"

    async def test_what_cannot_be_compared_is_refused(self, api: Api) -> None:
        version_id = version_of(api)
        done, other = (
            await self.finished(api, version_id),
            await self.finished(api, version_of(api)),
        )
        unfinished = (await post(api, version_id)).json()["id"]

        differ = await self.post_report(api, done, other)
        nothing = await self.post_report(api, done, unfinished)
        twice = await self.post_report(api, done, done)
        unknown = await self.post_report(api, str(uuid4()))

        assert (differ.status_code, differ.json()["code"]) == (422, "dataset_versions_differ")
        assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_report")
        assert (twice.status_code, twice.json()["code"]) == (422, "validation_error")
        assert unknown.status_code == 404
