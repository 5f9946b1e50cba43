"""What clients do is recorded with what they change, and read and exported as a chain."""

import json
from typing import Any
from uuid import uuid4

import pytest

from services.core.audit_chain import ChainHead, read_export, verify_chain
from tests.factories.api import Api, finish_job
from tests.factories.experiments import add_dataset_version
from tests.factories.model_versions import add_version
from tests.factories.uploads import make_series, make_zip

pytestmark = pytest.mark.anyio
ZIP = {"Content-Type": "application/zip"}


async def entries_of(api: Api, **query: str) -> list[dict[str, Any]]:
    """All entries, oldest first, without those about reading the trail."""
    response = await api.client.get("/v1/audit-entries", params={"limit": 200, **query})
    assert response.status_code == 200
    items = response.json()["items"][::-1]
    return [item for item in items if item["resource_kind"] != "audit_trail"]


async def actions_of(api: Api) -> list[str]:
    return [entry["action"] for entry in await entries_of(api)]


async def finished_job(api: Api) -> dict[str, Any]:
    response = await api.client.post(
        "/v1/autocontour", content=make_zip(make_series(3)), headers=ZIP
    )
    finish_job(api)
    return response.json()["job"]


class TestRecording:
    async def test_the_life_of_a_job(self, api: Api) -> None:
        job = await finished_job(api)
        review = {"reviewer": "r", "grades": []}
        grade = {"structure": "Bladder", "first_slice": 1, "last_slice": 2, "grade": "acceptable"}
        review["grades"] = [grade]
        posted = await api.client.post(f"/v1/contour-jobs/{job['id']}/reviews", json=review)
        assert posted.status_code == 201
        await api.client.get(f"/v1/contour-jobs/{job['id']}/rtstruct")
        await api.client.delete(job["links"]["series"])

        entries = await entries_of(api)

        assert [(entry["action"], entry["resource_id"]) for entry in entries[:4]] == [
            ("contour_job_submitted", job["id"]),
            ("series_submitted", job["series_id"]),
            ("review_submitted", posted.json()["id"]),
            ("rtstruct_read", job["id"]),
        ]
        deleted, completed = entries[4:]
        assert (deleted["action"], deleted["resource_id"]) == ("series_deleted", job["series_id"])
        assert completed["action"] == "deletion_completed"
        assert completed["resource_id"] == deleted["facts"]["deletion_id"]
        assert completed["facts"]["files"] == 4
        assert {(e["actor_kind"], e["actor_name"], e["role"]) for e in entries} == {
            ("api_key", "a test", "admin")
        }
        assert entries[0]["address"] == "127.0.0.1"

    async def test_what_is_refused_or_replayed_is_no_act(self, api: Api) -> None:
        job = await finished_job(api)
        before = len(await entries_of(api))
        key = {"Idempotency-Key": "k"}
        for _ in range(2):
            await api.client.post(
                "/v1/contour-jobs", json={"series_id": job["series_id"]}, headers=key
            )
        await api.client.post("/v1/contour-jobs", json={"series_id": str(uuid4())})
        await api.client.get(f"/v1/contour-jobs/{uuid4()}/rtstruct")
        await api.client.post(f"/v1/contour-jobs/{job['id']}/cancel")  # it succeeded

        assert len(await entries_of(api)) == before + 1

    @pytest.mark.parametrize("path", ["/v1/series", "/v1/autocontour"])
    async def test_an_upload_that_is_repeated_under_its_key_is_one_act(
        self, api: Api, path: str
    ) -> None:
        content = make_zip(make_series(3))
        headers = ZIP | {"Idempotency-Key": "k"}

        first = await api.client.post(path, content=content, headers=headers)
        acts = await actions_of(api)
        again = await api.client.post(path, content=content, headers=headers)

        assert first.is_success
        assert again.is_success
        assert await actions_of(api) == acts

    async def test_jobs_that_are_cancelled(self, api: Api) -> None:
        series = await api.client.post("/v1/series", content=make_zip(make_series(3)), headers=ZIP)
        job = await api.client.post("/v1/contour-jobs", json={"series_id": series.json()["id"]})
        await api.client.post(f"/v1/contour-jobs/{job.json()['id']}/cancel")

        assert await actions_of(api) == [
            "series_submitted",
            "contour_job_submitted",
            "contour_job_cancelled",
        ]

    async def test_datasets_and_their_versions(self, api: Api) -> None:
        dataset = (await api.client.post("/v1/datasets", json={"name": "a"})).json()
        await api.client.put(f"/v1/datasets/{dataset['id']}/mapping", json={})
        version = add_dataset_version(api.unit_of_work(), facts={})
        for path in ("cases", "cases.csv"):
            await api.client.get(f"/v1/dataset-versions/{version.id}/{path}")

        assert await actions_of(api) == [
            "dataset_created",
            "dataset_mapping_changed",
            "dataset_cases_read",
            "dataset_cases_read",
        ]

    async def test_models_that_serve_leave_and_retire(self, api: Api) -> None:
        storage = api.app.state.dependencies.storage
        version_id = add_version(api.unit_of_work(), storage, "one", seed=1)
        path = "/v1/model-aliases/production"
        body = {"model_version_id": str(version_id), "replaces": None}
        assert (await api.client.put(path, json=body)).status_code == 200
        assert (await api.client.post(f"{path}/rollback")).status_code == 200
        version = f"/v1/model-versions/{version_id}"
        assert (await api.client.get(f"{version}/export")).status_code == 200
        assert (await api.client.post(f"{version}/retire")).status_code == 200
        assert (await api.client.delete(version)).status_code == 200

        entries = await entries_of(api)

        assert [entry["action"] for entry in entries] == [
            "model_alias_moved",
            "model_alias_rolled_back",
            "model_version_exported",
            "model_version_retired",
            "model_version_deleted",
            "deletion_completed",
        ]
        assert entries[0]["resource_id"] == "production"
        assert entries[0]["facts"] == {"model_version_id": str(version_id), "replaced_id": None}


class TestIdentifiers:
    async def test_no_name_id_uid_or_file_name_of_an_upload_is_in_the_trail(self, api: Api) -> None:
        files = {f"DOE^JANE/{name}": content for name, content in make_series(3).items()}
        files["DOE-JANE-MRN12345.txt"] = b"DOE^JANE"
        posted = await api.client.post("/v1/series", content=make_zip(files), headers=ZIP)
        assert posted.status_code == 201
        series = posted.json()
        await api.client.post("/v1/contour-jobs", json={"series_id": series["id"]})
        finish_job(api)
        await api.client.delete(f"/v1/series/{series['id']}")

        text = (await api.client.get("/v1/audit-entries/export")).text

        known = ("DOE", "JANE", "MRN", "IM0", ".dcm", ".txt", "1.2.")
        uids = [series[f"{name}_uid"] for name in ("series_instance", "study_instance")]
        assert [one for one in (*known, *uids) if one in text] == []


class TestReading:
    async def test_pages_hold_every_entry_once(self, api: Api) -> None:
        for number in range(5):
            await api.client.post("/v1/datasets", json={"name": str(number)})
        seen: list[int] = []
        cursor: int | None = 6  # entries about the reading come behind it
        while cursor is not None:
            page = await api.client.get("/v1/audit-entries", params={"limit": 2, "cursor": cursor})
            seen += [item["sequence"] for item in page.json()["items"]]
            cursor = page.json()["next_cursor"]
        assert seen == [5, 4, 3, 2, 1]

    async def test_filters(self, api: Api) -> None:
        made = (await api.client.post("/v1/datasets", json={"name": "a"})).json()
        await finished_job(api)
        of_dataset = await entries_of(api, resource_id=made["id"])
        assert [entry["action"] for entry in of_dataset] == ["dataset_created"]
        assert len(await entries_of(api, action="contour_job_submitted")) == 1
        actor_id = of_dataset[0]["actor_id"]
        assert len(await entries_of(api, resource_kind="series", actor_id=actor_id)) == 1
        assert await entries_of(api, actor_id="system") == []
        assert await entries_of(api, until="2020-01-01T00:00:00Z") == []
        assert len(await entries_of(api, since="2020-01-01T00:00:00+02:00")) == 3

    @pytest.mark.parametrize(
        "query", [{"action": "x"}, {"since": "2020-01-01T00:00:00"}, {"cursor": 0}, {"limit": 0}]
    )
    async def test_bad_queries_are_refused(self, api: Api, query: dict[str, Any]) -> None:
        response = await api.client.get("/v1/audit-entries", params=query)
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")

    async def test_reading_is_an_entry_itself(self, api: Api) -> None:
        await entries_of(api)
        page = (await api.client.get("/v1/audit-entries")).json()
        assert [item["action"] for item in page["items"]] == ["audit_trail_read"]


class TestExport:
    async def test_it_is_the_whole_chain_up_to_itself(self, api: Api) -> None:
        await finished_job(api)

        response = await api.client.get("/v1/audit-entries/export")

        assert response.headers["Content-Type"].startswith("application/jsonl")
        head = (await api.client.get("/v1/audit-entries/head")).json()
        verdict = verify_chain(
            read_export(response.content.splitlines()), expected=[ChainHead.parse(head["text"])]
        )
        assert verdict.is_whole
        assert (verdict.first_sequence, verdict.head.sequence) == (1, 3)
        assert json.loads(response.text.splitlines()[-1])["action"] == "audit_trail_exported"

    async def test_it_may_begin_later(self, api: Api) -> None:
        await finished_job(api)

        response = await api.client.get("/v1/audit-entries/export", params={"from_sequence": 2})

        verdict = verify_chain(read_export(response.content.splitlines()))
        assert (verdict.first_sequence, verdict.head.sequence) == (2, 3)

    async def test_behind_the_end_is_nothing(self, api: Api) -> None:
        response = await api.client.get("/v1/audit-entries/export", params={"from_sequence": 99})

        assert (response.status_code, response.text) == (200, "")


async def test_an_empty_trail_has_a_head(api: Api) -> None:
    head = (await api.client.get("/v1/audit-entries/head")).json()
    assert (head["sequence"], head["sha256"]) == (0, "0" * 64)
