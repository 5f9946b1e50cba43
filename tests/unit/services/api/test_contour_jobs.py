"""Jobs are queued once a request, watched, cancelled, and give their RTSTRUCT away."""

import hashlib
from uuid import uuid4

import pytest

from services.core.queue import TaskName
from services.core.storage import StoredKind
from tests.factories.api import Api, finish_job
from tests.factories.uploads import FORM, make_form, make_series, make_zip

pytestmark = pytest.mark.anyio


async def post_series(api: Api, count: int = 3) -> str:
    response = await api.client.post(
        "/v1/series",
        content=make_zip(make_series(count)),
        headers={"Content-Type": "application/zip"},
    )
    return response.json()["id"]


async def post_job(api: Api, series_id: str, headers: dict[str, str] | None = None):
    return await api.client.post("/v1/contour-jobs", json={"series_id": series_id}, headers=headers)


async def autocontour(api: Api, count: int = 3, headers: dict[str, str] | None = None):
    return await api.client.post(
        "/v1/autocontour",
        content=make_form(make_series(count) | {"notes.txt": b"hello"}),
        headers={"Content-Type": FORM, **(headers or {})},
    )


class TestPosting:
    async def test_a_job_is_queued_and_its_message_sent(self, api: Api) -> None:
        series_id = await post_series(api)
        response = await post_job(api, series_id, headers={"X-Correlation-ID": "0f" * 16})
        job = response.json()
        assert response.status_code == 202
        assert response.headers["Location"] == f"/v1/contour-jobs/{job['id']}"
        assert (job["state"], job["queue_position"], job["progress"]) == ("queued", 0, 0.0)
        assert job["correlation_id"] == "0f" * 16
        assert job["links"]["rtstruct"] is None
        assert [str(sent) for sent in api.queue.resource_ids] == [job["id"]]

    async def test_a_broker_that_is_away_delays_the_job_only(self, api: Api) -> None:
        series_id = await post_series(api)
        api.queue.is_down = True
        assert (await post_job(api, series_id)).status_code == 202

    async def test_a_key_makes_one_job(self, api: Api) -> None:
        series_id, other = await post_series(api), await post_series(api, 4)
        first = await post_job(api, series_id, headers={"Idempotency-Key": "k"})
        again = await post_job(api, series_id, headers={"Idempotency-Key": "k"})
        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
        assert again.headers["Location"] == first.headers["Location"]
        assert len(api.queue.messages) == 1
        reused = await post_job(api, other, headers={"Idempotency-Key": "k"})
        assert (reused.status_code, reused.json()["code"]) == (409, "idempotency_key_reused")

    async def test_bad_requests(self, api: Api) -> None:
        unknown = await post_job(api, str(uuid4()))
        assert (unknown.status_code, unknown.json()["code"]) == (404, "series_not_found")
        for body in (b"", b"{", b'{"series_id": "7"}', b"{}", b"[]"):
            response = await api.client.post(
                "/v1/contour-jobs", content=body, headers={"Content-Type": "application/json"}
            )
            assert (response.status_code, response.json()["code"]) == (422, "validation_error")
        assert api.is_empty()


class TestAutocontour:
    async def test_one_request_makes_series_and_job(self, api: Api) -> None:
        response = await autocontour(api)
        body = response.json()
        assert response.status_code == 202
        assert response.headers["Location"] == body["job"]["links"]["self"]
        assert body["job"]["series_id"] == body["series"]["id"]
        assert body["series"]["skipped_files"] == [{"name": "notes.txt", "reason": "not_dicom"}]
        assert [str(sent) for sent in api.queue.resource_ids] == [body["job"]["id"]]

    async def test_a_key_makes_one_job(self, api: Api) -> None:
        first = await autocontour(api, headers={"Idempotency-Key": "k"})
        again = await autocontour(api, headers={"Idempotency-Key": "k"})
        assert again.json() == first.json()
        assert len(api.queue.messages) == 1
        reused = await autocontour(api, 4, headers={"Idempotency-Key": "k"})
        assert (reused.status_code, reused.json()["code"]) == (409, "idempotency_key_reused")
        assert len(api.stored_files()) == 3

    async def test_without_a_key_the_same_series_gets_another_job(self, api: Api) -> None:
        first, again = await autocontour(api), await autocontour(api)
        assert first.json()["series"]["id"] == again.json()["series"]["id"]
        assert first.json()["job"]["id"] != again.json()["job"]["id"]


class TestWatching:
    async def test_filters_and_pages(self, api: Api) -> None:
        series = [await post_series(api), await post_series(api, 4)]
        jobs = [(await post_job(api, series[n % 2])).json()["id"] for n in range(4)]
        await api.client.post(f"/v1/contour-jobs/{jobs[0]}/cancel")

        async def ids(**query: str) -> list[str]:
            page = (await api.client.get("/v1/contour-jobs", params=query)).json()
            return [item["id"] for item in page["items"]]

        assert await ids() == jobs[::-1]
        assert await ids(series_id=series[1]) == [jobs[3], jobs[1]]
        assert await ids(state="cancelled") == [jobs[0]]
        page = (await api.client.get("/v1/contour-jobs", params={"limit": 3})).json()
        assert await ids(cursor=page["next_cursor"], limit="3") == [jobs[0]]
        assert [item["queue_position"] for item in page["items"]] == [2, 1, 0]

    async def test_an_unknown_state_is_refused(self, api: Api) -> None:
        response = await api.client.get("/v1/contour-jobs", params={"state": "lost"})
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")

    async def test_an_unknown_job(self, api: Api) -> None:
        path = f"/v1/contour-jobs/{uuid4()}"
        for response in (
            await api.client.get(path),
            await api.client.get(f"{path}/rtstruct"),
            await api.client.post(f"{path}/cancel"),
        ):
            assert (response.status_code, response.json()["code"]) == (404, "contour_job_not_found")


class TestCancelling:
    async def test_a_queued_job_ends_at_once_and_again_changes_nothing(self, api: Api) -> None:
        job = (await post_job(api, await post_series(api))).json()
        for _ in range(2):
            response = await api.client.post(job["links"]["cancel"])
            assert (response.status_code, response.json()["state"]) == (202, "cancelled")
        rtstruct = await api.client.get(f"{job['links']['self']}/rtstruct")
        assert (rtstruct.status_code, rtstruct.json()["code"]) == (409, "job_cancelled")

    async def test_a_finished_job_cannot_be_cancelled(self, api: Api) -> None:
        job = (await post_job(api, await post_series(api))).json()
        finish_job(api)
        response = await api.client.post(job["links"]["cancel"])
        assert (response.status_code, response.json()["code"]) == (409, "illegal_transition")


class TestRtstruct:
    async def test_it_waits_for_the_job(self, api: Api) -> None:
        job = (await post_job(api, await post_series(api))).json()
        response = await api.client.get(f"{job['links']['self']}/rtstruct")
        assert (response.status_code, response.json()["code"]) == (409, "job_not_finished")
        assert response.headers["Retry-After"] == "5"

    async def test_it_is_streamed_with_its_hash(self, api: Api) -> None:
        job = (await post_job(api, await post_series(api))).json()
        finish_job(api)
        shown = (await api.client.get(job["links"]["self"])).json()
        assert (shown["state"], shown["volumes_ml"]) == ("succeeded", {"Bladder": 1.5})
        response = await api.client.get(shown["links"]["rtstruct"])
        etag = f'"{hashlib.sha256(b"RTSTRUCT").hexdigest()}"'
        assert (response.status_code, response.content) == (200, b"RTSTRUCT")
        assert response.headers["Content-Type"] == "application/dicom"
        assert response.headers["ETag"] == etag
        assert f"rtstruct-{job['id']}.dcm" in response.headers["Content-Disposition"]
        same = await api.client.get(
            shown["links"]["rtstruct"], headers={"If-None-Match": f'"x", {etag}'}
        )
        assert (same.status_code, same.content) == (304, b"")

    async def test_a_failed_job_says_why(self, api: Api) -> None:
        job = (await post_job(api, await post_series(api))).json()
        with api.unit_of_work() as uow:
            claim = uow.leases.claim(
                TaskName.CONTOUR_JOB_RUN, api.queue.resource_ids[-1], owner="w", seconds=60
            )
            assert claim is not None
            uow.leases.fail(claim, code="pixels_truncated", detail="cut", context={"a": 1})
            uow.commit()
        shown = (await api.client.get(job["links"]["self"])).json()
        assert shown["error"] == {"code": "pixels_truncated", "detail": "cut", "context": {"a": 1}}
        response = await api.client.get(f"{job['links']['self']}/rtstruct")
        assert (response.status_code, response.json()["code"]) == (409, "job_failed")
        assert response.json()["context"]["error_code"] == "pixels_truncated"

    async def test_a_lost_file_is_the_services_fault(self, api: Api) -> None:
        job = (await post_job(api, await post_series(api))).json()
        claim = finish_job(api)
        api.app.state.dependencies.storage.delete(StoredKind.RESULTS, claim.resource_id)
        response = await api.client.get(f"{job['links']['self']}/rtstruct")
        assert (response.status_code, response.json()["code"]) == (500, "stored_files_missing")
