"""What experiments come to: progress, epochs, leaderboard, scores and reports."""

import csv
import io
import json
import math
from contextlib import ExitStack
from typing import Any
from uuid import UUID, uuid4

import pytest

from ml.evaluation.rows import column_names, read_rows
from services.api.experiments.events import ExperimentChanges
from services.api.main import MAX_STREAMS
from services.core.api_keys import key_sha256
from services.core.queue import TaskName
from services.core.storage import StoredKind
from tests.factories.access import add_key, bearer
from tests.factories.api import Api
from tests.factories.run_progress import (
    fail,
    post_experiment,
    record_epochs,
    runs_of,
    start,
    succeed,
    version_of,
)
from tests.factories.scores import make_score

pytestmark = pytest.mark.anyio


class TestWatching:
    async def test_progress_counts_epochs_and_tells_what_is_left(self, api: Api) -> None:
        experiment = (
            await post_experiment(api, version_of(api), seeds=[0, 1], budget={"max_epochs": 4})
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
        experiment = (await post_experiment(api, version_of(api))).json()
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
        experiment = (await post_experiment(api, version_of(api))).json()
        run = (await runs_of(api, experiment["id"]))[0]
        claim = start(api, run["id"])
        record_epochs(api, claim, 2)
        record_epochs(api, claim, 2)

        found = (await api.client.get(f"/v1/runs/{run['id']}")).json()

        assert (found["epochs"], found["training_seconds"]) == (2, 20.0)

    async def test_the_stream_tells_everything_and_ends_with_the_last_run(self, api: Api) -> None:
        experiment = (await post_experiment(api, version_of(api))).json()
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

    async def test_a_stream_ends_with_the_key_of_its_listener(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        experiment = (await post_experiment(api, version_of(api))).json()
        key = add_key(api.unit_of_work)
        with api.unit_of_work() as uow:
            row = uow.api_keys.find_valid(key_sha256(key))
        assert row is not None
        looks = 0
        look = ExperimentChanges.look

        def look_and_revoke(changes: ExperimentChanges) -> list[str]:
            nonlocal looks
            looks += 1
            if looks > 5:
                changes.is_over = True  # else a stream that outlives its key never ends
            elif looks == 3:
                with api.unit_of_work() as uow:
                    uow.api_keys.revoke(row.id)
                    uow.commit()
            return look(changes) if looks <= 5 else ["event: late\ndata: {}\n\n"]

        monkeypatch.setattr(ExperimentChanges, "look", look_and_revoke)
        monkeypatch.setattr("services.api.experiments.events.LOOK_SECONDS", 0)
        monkeypatch.setattr("services.api.experiments.events.ADMISSION_SECONDS", 0, raising=False)

        path = f"/v1/experiments/{experiment['id']}/events"
        response = await api.client.get(path, headers=bearer(key))

        assert (response.status_code, looks) == (200, 3)
        assert "event: run" in response.text
        assert "event: end" not in response.text
        assert not api.app.state.stream_slots._under_way

    async def test_one_client_follows_so_many_streams_at_a_time(self, api: Api) -> None:
        experiment = (await post_experiment(api, version_of(api))).json()
        path = f"/v1/experiments/{experiment['id']}/events"
        me = (await api.client.get("/v1/me")).json()["id"]
        with ExitStack() as open_streams:
            for _ in range(MAX_STREAMS):
                open_streams.enter_context(api.app.state.stream_slots.taken(me))
            response = await api.client.get(path)

        assert (response.status_code, response.json()["code"]) == (429, "too_many_streams")
        assert int(response.headers["Retry-After"]) > 0

    async def test_lists_are_cut_and_filtered(self, api: Api) -> None:
        version_id, other = version_of(api), version_of(api)
        made = [(await post_experiment(api, version_id)).json()["id"] for _ in range(3)]
        await post_experiment(api, other, kind="loss_comparison")

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
            await post_experiment(
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
        experiment = (await post_experiment(api, version_of(api))).json()
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
        experiment = (await post_experiment(api, version_of(api))).json()
        run = (await runs_of(api, experiment["id"]))[0]
        record_epochs(api, start(api, run["id"]), 2)

        text = (await api.client.get(f"/v1/experiments/{experiment['id']}/epochs.csv")).text

        lines = list(csv.DictReader(io.StringIO(text)))
        assert [line["epoch"] for line in lines] == ["1", "2"]
        assert lines[1]["training_loss"] == "0.5"


class TestReports:
    async def finished(self, api: Api, version_id: str) -> str:
        experiment = (await post_experiment(api, version_id)).json()
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
        unfinished = (await post_experiment(api, version_id)).json()["id"]

        differ = await self.post_report(api, done, other)
        nothing = await self.post_report(api, done, unfinished)
        twice = await self.post_report(api, done, done)
        unknown = await self.post_report(api, str(uuid4()))

        assert (differ.status_code, differ.json()["code"]) == (422, "dataset_versions_differ")
        assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_report")
        assert (twice.status_code, twice.json()["code"]) == (422, "validation_error")
        assert unknown.status_code == 404


def vars_of(score) -> dict[str, Any]:
    return {name: getattr(score, name) for name in column_names()}
