"""Dataset versions are queued one at a time, watched, listed case by case, and removed."""

import csv
import io
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from ml.data.importing.settings import OVERLAP_LIMIT
from services.api.dataset_versions.schemas import DEFAULT_OVERLAP_LIMIT
from services.core.lifecycle import CasePart, CaseStatus, ExperimentKind, JobState
from services.core.queue import TaskName
from services.core.settings import Settings
from services.core.storage import StoredKind
from services.core.tables.datasets import DatasetCase
from services.core.tables.experiments import Experiment, Run
from services.core.tables.model_versions import ModelAlias, ModelVersion
from services.core.unit_of_work import UnitOfWork
from tests.factories.api import Api
from tests.factories.datasets import end_version

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "mount" / "clinic").mkdir(parents=True)
    return Settings(data_dir=tmp_path / "data", datasets_dir=tmp_path / "mount")


async def make(api: Api, **body: Any) -> str:
    response = await api.client.post(
        "/v1/datasets", json={"name": f"a{uuid4().hex}", "folder": "clinic", **body}
    )
    return response.json()["id"]


async def post(api: Api, dataset_id: str, body: Any = None, **headers: str) -> httpx.Response:
    return await api.client.post(
        f"/v1/datasets/{dataset_id}/versions", json=body or {}, headers=headers
    )


async def make_version(api: Api) -> UUID:
    return UUID((await post(api, await make(api))).json()["id"])


async def make_ended_version(api: Api) -> UUID:
    """A version that succeeded, with files and crops."""
    version_id = await make_version(api)
    end_version(api.unit_of_work(), version_id)
    storage = api.app.state.dependencies.storage
    for kind in (StoredKind.DATASETS, StoredKind.CROPS):
        with storage.staging() as folder:
            (folder / "file").touch()
            storage.publish(kind, folder, version_id)
    return version_id


def refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


class TestPosting:
    async def test_a_version_holds_everything_it_is_made_from(self, api: Api) -> None:
        dataset_id = await make(api, mapping={"ignore": ["PTV"]})
        response = await post(api, dataset_id, {"split": {"seed": 7}, "allow_missing": True})
        body = response.json()
        assert response.status_code == 202
        assert response.headers["Location"] == body["links"]["self"]
        assert (body["number"], body["state"], body["structure_set"]) == (1, "queued", "cervix")
        sources = body["request"].pop("sources")
        assert [(s["kind"], s["content"]) for s in sources] == [("folder", "clinic")]
        assert body["request"] == {
            "mapping": {
                "ignore": ["PTV"], "patient_pattern": None, "structures": {}, "labels": {},
            },
            "split": {"seed": 7, "proportions": [111, 30, 15], "keep_previous": True},
            "allow_missing": True,
            "allow_overlap": False,
            "allow_orphans": False,
            "overlap_limit": 0.05,
        }  # fmt: skip
        (message,) = api.queue.messages
        assert (message.task, str(message.resource_id)) == (
            TaskName.DATASET_VERSION_INDEX, body["id"],
        )  # fmt: skip

    def test_the_default_limit_is_that_of_the_import(self) -> None:
        assert DEFAULT_OVERLAP_LIMIT == OVERLAP_LIMIT

    async def test_a_mapping_of_its_own_is_for_this_version_alone(self, api: Api) -> None:
        dataset_id = await make(api, mapping={"ignore": ["PTV"]})
        body = (await post(api, dataset_id, {"mapping": {"ignore": ["GTV"]}})).json()
        assert body["request"]["mapping"]["ignore"] == ["GTV"]
        dataset = (await api.client.get(f"/v1/datasets/{dataset_id}")).json()
        assert dataset["mapping"]["ignore"] == ["PTV"]

    async def test_one_version_at_a_time(self, api: Api) -> None:
        dataset_id = await make(api)
        first = (await post(api, dataset_id)).json()
        response = await post(api, dataset_id)
        assert refused(response) == (409, "version_in_progress")
        assert response.json()["context"]["dataset_version_id"] == first["id"]
        end_version(api.unit_of_work(), UUID(first["id"]))
        assert (await post(api, dataset_id)).json()["number"] == 2
        assert (await post(api, await make(api))).json()["number"] == 1

    async def test_a_dataset_without_sources_has_no_versions(self, api: Api) -> None:
        made = await api.client.post("/v1/datasets", json={"name": "empty"})
        response = await post(api, made.json()["id"])
        assert refused(response) == (409, "dataset_has_no_source")

    async def test_an_unknown_dataset(self, api: Api) -> None:
        assert refused(await post(api, str(uuid4()))) == (404, "dataset_not_found")
        response = await api.client.get(f"/v1/datasets/{uuid4()}/versions")
        assert refused(response) == (404, "dataset_not_found")

    @pytest.mark.parametrize(
        "body",
        [
            {"split": {"seed": -1}},
            {"split": {"seed": 2**32}},
            {"split": {"proportions": [1, 1]}},
            {"split": {"proportions": [1, 1, -1]}},
            {"split": {"proportions": [0, 0, 0]}},
            {"split": {"proportions": [1e300, 0, 0]}},
            {"overlap_limit": 1.1},
            {"overlap_limit": "NaN"},
            {"allow_missing": "perhaps"},
            {"more": 1},
        ],
    )
    async def test_bad_bodies_are_refused(self, api: Api, body: dict[str, Any]) -> None:
        response = await post(api, await make(api), body)
        assert refused(response) == (422, "validation_error")
        assert not api.queue.messages

    async def test_a_bad_mapping_is_refused(self, api: Api) -> None:
        response = await post(api, await make(api), {"mapping": {"structures": {"Spleen": "S"}}})
        assert refused(response) == (422, "mapping_invalid")
        assert not api.queue.messages

    async def test_the_same_keyed_request_makes_nothing_new(self, api: Api) -> None:
        dataset_id = await make(api)
        key = {"Idempotency-Key": "k"}
        first, again = [await post(api, dataset_id, **key) for _ in (1, 2)]
        assert (again.status_code, again.json()) == (202, first.json())
        other = await post(api, dataset_id, {"allow_missing": True}, **key)
        assert refused(other) == (409, "idempotency_key_reused")
        assert len(api.queue.messages) == 1


class TestReading:
    async def test_versions_are_listed_newest_first(self, api: Api) -> None:
        dataset_id = await make(api)
        made = []
        for _ in range(3):
            made.append((await post(api, dataset_id)).json()["id"])
            end_version(api.unit_of_work(), UUID(made[-1]))
        await make_version(api)
        path = f"/v1/datasets/{dataset_id}/versions"
        first = (await api.client.get(path, params={"limit": 2})).json()
        rest = (await api.client.get(path, params={"cursor": first["next_cursor"]})).json()
        assert [item["id"] for item in first["items"] + rest["items"]] == made[::-1]
        assert rest["next_cursor"] is None
        dataset = (await api.client.get(f"/v1/datasets/{dataset_id}")).json()
        assert [version["number"] for version in dataset["versions"]] == [3, 2, 1]
        assert dataset["versions"][0]["href"] == f"/v1/dataset-versions/{made[2]}"
        listed = (await api.client.get("/v1/datasets")).json()["items"]
        assert [item["last_version"]["number"] for item in listed] == [1, 3]

    async def test_an_unknown_version(self, api: Api) -> None:
        path = f"/v1/dataset-versions/{uuid4()}"
        for method, rest in (
            ("GET", ""),
            ("GET", "/cases"),
            ("GET", "/cases.csv"),
            ("POST", "/cancel"),
            ("DELETE", ""),
        ):
            response = await api.client.request(method, path + rest)
            assert refused(response) == (404, "dataset_version_not_found")


class TestCases:
    @pytest.fixture
    async def version_id(self, api: Api) -> UUID:
        """Six cases: one refused, the others dealt in turn."""
        version_id = await make_version(api)
        parts = list(CasePart)
        with api.unit_of_work() as uow:
            uow.dataset_cases.replace(
                version_id,
                [
                    DatasetCase(
                        version_id=version_id,
                        position=position,
                        name=f"=HYPERLINK(p{position})",
                        status=CaseStatus.REFUSED if position == 3 else CaseStatus.IMPORTED,
                        case_id=None if position == 3 else f"case-{position}",
                        part=None if position == 3 else parts[position % 3],
                        code="missing_ct" if position == 3 else None,
                        facts={"slices": position},
                    )
                    for position in range(6)
                ],
            )
            uow.commit()
        return version_id

    async def test_pages_follow_the_order_of_reading(self, api: Api, version_id: UUID) -> None:
        seen: list[int] = []
        cursor: str | None = ""
        while cursor is not None:
            query = {"limit": 4} | ({"cursor": cursor} if cursor else {})
            response = await api.client.get(
                f"/v1/dataset-versions/{version_id}/cases", params=query
            )
            page = response.json()
            seen += [item["position"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert seen == list(range(6))

    async def test_cases_are_filtered(self, api: Api, version_id: UUID) -> None:
        path = f"/v1/dataset-versions/{version_id}/cases"
        refusals = (await api.client.get(path, params={"status": "refused"})).json()["items"]
        assert [(item["position"], item["code"]) for item in refusals] == [(3, "missing_ct")]
        tested = (await api.client.get(path, params={"part": "test"})).json()["items"]
        assert [item["position"] for item in tested] == [2, 5]

    @pytest.mark.parametrize(
        "query", [{"status": "x"}, {"part": "x"}, {"cursor": -1}, {"cursor": 2**31}, {"limit": 0}]
    )
    async def test_bad_queries_are_refused(
        self, api: Api, version_id: UUID, query: dict[str, Any]
    ) -> None:
        response = await api.client.get(f"/v1/dataset-versions/{version_id}/cases", params=query)
        assert refused(response) == (422, "validation_error")

    @pytest.mark.parametrize("streamed", [2, 3, 500])
    async def test_the_table_has_every_case_and_no_formula(
        self, api: Api, version_id: UUID, streamed: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.api.dataset_versions.service.STREAMED_CASES", streamed)
        path = f"/v1/dataset-versions/{version_id}/cases"
        tables = [
            await api.client.get(path, headers={"Accept": "text/csv"}),
            await api.client.get(f"{path}.csv"),
        ]
        assert tables[0].text == tables[1].text
        assert tables[0].headers["Content-Type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(tables[0].text)))
        assert [row["position"] for row in rows] == [str(position) for position in range(6)]
        assert rows[4]["name"] == "'=HYPERLINK(p4)"
        assert (rows[3]["code"], rows[3]["facts"]) == ("missing_ct", '{"slices": 3}')
        (refusal,) = csv.DictReader(
            io.StringIO((await api.client.get(f"{path}.csv?status=refused")).text)
        )
        assert refusal["position"] == "3"


class TestCancelling:
    async def test_a_queued_version_ends_at_once(self, api: Api) -> None:
        version_id = await make_version(api)
        for _ in range(2):
            response = await api.client.post(f"/v1/dataset-versions/{version_id}/cancel")
            assert (response.status_code, response.json()["state"]) == (202, "cancelled")

    async def test_a_running_version_is_asked_to_stop(self, api: Api) -> None:
        version_id = await make_version(api)
        with api.unit_of_work() as uow:
            uow.leases.claim(TaskName.DATASET_VERSION_INDEX, version_id, owner="w", seconds=60)
            uow.commit()
        body = (await api.client.post(f"/v1/dataset-versions/{version_id}/cancel")).json()
        assert (body["state"], body["cancel_requested"]) == ("running", True)

    async def test_a_version_that_succeeded_stays(self, api: Api) -> None:
        version_id = await make_ended_version(api)
        response = await api.client.post(f"/v1/dataset-versions/{version_id}/cancel")
        assert refused(response) == (409, "illegal_transition")


class TestRemoving:
    async def test_files_and_crops_go_and_the_row_stays(self, api: Api) -> None:
        version_id, other = await make_ended_version(api), await make_ended_version(api)
        for _ in range(2):
            response = await api.client.delete(f"/v1/dataset-versions/{version_id}")
            assert response.status_code == 200
        assert api.stored_files() == [f"crops/{other}/file", f"datasets/{other}/file"]
        shown = (await api.client.get(f"/v1/dataset-versions/{version_id}")).json()
        assert (shown["state"], shown["purged_at"] is None) == ("succeeded", False)

    async def test_a_version_in_progress_keeps_its_files_and_the_last_one_s(self, api: Api) -> None:
        version_id = await make_ended_version(api)
        dataset_id = (await api.client.get(f"/v1/dataset-versions/{version_id}")).json()[
            "dataset_id"
        ]
        active = (await post(api, dataset_id)).json()["id"]
        for one in (version_id, active):
            response = await api.client.delete(f"/v1/dataset-versions/{one}")
            assert refused(response) == (409, "dataset_version_in_use")
            assert response.json()["context"]["needed_by"] == {"dataset_version_id": active}
        assert len(api.stored_files()) == 2

    @pytest.mark.parametrize(
        ("state", "is_removed"), [(JobState.QUEUED, False), (JobState.FAILED, True)]
    )
    async def test_a_run_that_is_not_over_keeps_it(
        self, api: Api, state: JobState, is_removed: bool
    ) -> None:
        version_id = await make_ended_version(api)
        run_id = add_run(api.unit_of_work(), version_id, state)
        response = await api.client.delete(f"/v1/dataset-versions/{version_id}")
        if is_removed:
            assert response.status_code == 200
        else:
            assert refused(response) == (409, "dataset_version_in_use")
            assert response.json()["context"]["needed_by"] == {"run_id": str(run_id)}

    @pytest.mark.parametrize("is_by_run", [True, False])
    async def test_a_model_that_contours_keeps_it(self, api: Api, is_by_run: bool) -> None:
        version_id = await make_ended_version(api)
        run_id = add_run(api.unit_of_work(), version_id, JobState.SUCCEEDED)
        model_id = add_model(
            api.unit_of_work(),
            run_id=run_id if is_by_run else None,
            dataset_version_id=None if is_by_run else version_id,
        )
        response = await api.client.delete(f"/v1/dataset-versions/{version_id}")
        assert refused(response) == (409, "dataset_version_in_use")
        assert response.json()["context"]["needed_by"] == {"model_version_id": str(model_id)}
        with api.unit_of_work() as uow:
            alias = uow._session.get_one(ModelAlias, "production")
            alias.model_version_id = None
            uow.commit()
        response = await api.client.delete(f"/v1/dataset-versions/{version_id}")
        assert response.status_code == 200


def add_run(uow: UnitOfWork, version_id: UUID, state: JobState) -> UUID:
    now = uow._now()
    experiment = Experiment(
        id=uuid4(),
        kind=ExperimentKind.TRAINING,
        name="e",
        dataset_version_id=version_id,
        request={},
        correlation_id="request-1",
        created_at=now,
    )
    run = Run(
        id=uuid4(),
        experiment_id=experiment.id,
        position=0,
        label="r",
        seed=0,
        config={},
        max_epochs=1,
        state=state,
        correlation_id="request-1",
        max_attempts=3,
        created_at=now,
    )
    with uow:
        uow._session.add(experiment)
        uow._session.flush()
        uow._session.add(run)
        uow.commit()
    return run.id


def add_model(uow: UnitOfWork, **values: Any) -> UUID:
    """A model version that contours."""
    now = uow._now()
    model = ModelVersion(
        id=uuid4(),
        name="m",
        origin="run",
        request={},
        weights_sha256="0" * 64,
        structure_set="cervix",
        state=JobState.SUCCEEDED,
        correlation_id="request-1",
        max_attempts=3,
        created_at=now,
        **values,
    )
    with uow:
        uow._session.add(model)
        uow._session.flush()
        alias = uow._session.get(ModelAlias, "production")
        if alias is None:
            alias = ModelAlias(alias="production", changed_at=now)
            uow._session.add(alias)
        alias.model_version_id = model.id
        uow.commit()
    return model.id
