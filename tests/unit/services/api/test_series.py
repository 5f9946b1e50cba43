"""A CT series is stored once a content, listed in pages, and deleted with its results."""

from uuid import uuid4

import pytest

from tests.factories.api import Api, finish_job
from tests.factories.uploads import FORM, make_form, make_series, make_zip

pytestmark = pytest.mark.anyio
ZIP = {"Content-Type": "application/zip"}


async def post(api: Api, count: int = 3, headers: dict[str, str] | None = None):
    return await api.client.post(
        "/v1/series", content=make_zip(make_series(count)), headers={**ZIP, **(headers or {})}
    )


class TestPosting:
    async def test_a_series_is_described_and_stored_in_the_order_of_its_slices(
        self, api: Api
    ) -> None:
        response = await post(api)
        body = response.json()
        assert response.status_code == 201
        assert response.headers["Location"] == f"/v1/series/{body['id']}" == body["links"]["self"]
        assert (body["slice_count"], body["rows"], body["columns"]) == (3, 16, 16)
        assert body["spacing_mm"] == [3.0, 1.0, 1.0]
        assert body["patient_position"] == "HFS"
        folder = f"series/{body['id']}"
        assert api.stored_files() == [f"{folder}/{n:05d}.dcm" for n in (1, 2, 3)]
        stored = [(api.data_dir / path).read_bytes() for path in api.stored_files()]
        assert stored == list(make_series().values())
        assert not list((api.data_dir / "incoming").iterdir())

    async def test_files_that_are_no_images_are_skipped_and_listed(self, api: Api) -> None:
        extra = {"notes.txt": b"hello", "inner.zip": make_zip({"a": b"b"})}
        response = await api.client.post(
            "/v1/series", content=make_zip(make_series() | extra), headers=ZIP
        )
        assert response.json()["skipped_files"] == [
            {"name": "inner.zip", "reason": "not_dicom"},
            {"name": "notes.txt", "reason": "not_dicom"},
        ]

    async def test_the_same_content_is_the_same_series_however_it_comes(self, api: Api) -> None:
        first = await post(api)
        files = dict(reversed(make_series().items()))
        renamed = {f"x/{name}": content for name, content in files.items()}
        for body, kind in (
            (make_form(renamed), FORM),
            (make_form({"ct.zip": make_zip(files)}), FORM),
        ):
            again = await api.client.post(
                "/v1/series", content=body, headers={"Content-Type": kind}
            )
            assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        assert len(api.stored_files()) == 3


class TestIdempotencyKey:
    async def test_the_same_request_again_finds_the_same_series(self, api: Api) -> None:
        first = await post(api, headers={"Idempotency-Key": "k"})
        again = await post(api, headers={"Idempotency-Key": "k"})
        assert again.json()["id"] == first.json()["id"]

    async def test_another_series_under_the_key_is_refused_and_not_stored(self, api: Api) -> None:
        await post(api, headers={"Idempotency-Key": "k"})
        response = await post(api, 4, headers={"Idempotency-Key": "k"})
        assert (response.status_code, response.json()["code"]) == (409, "idempotency_key_reused")
        assert len(api.stored_files()) == 3

    async def test_a_key_may_not_be_endless(self, api: Api) -> None:
        response = await post(api, headers={"Idempotency-Key": "k" * 256})
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")
        assert "k" * 256 not in response.text
        assert api.is_empty()


class TestReading:
    async def test_pages_hold_every_series_once_newest_first(self, api: Api) -> None:
        posted = [(await post(api, count)).json()["id"] for count in (2, 3, 4, 5, 6)]
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await api.client.get("/v1/series", params=query)).json()
            seen += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert seen == posted[::-1]

    @pytest.mark.parametrize("query", [{"cursor": "x"}, {"limit": 0}, {"limit": 201}])
    async def test_bad_queries_are_refused(self, api: Api, query: dict[str, str | int]) -> None:
        response = await api.client.get("/v1/series", params=query)
        problem = response.json()
        assert (response.status_code, problem["code"]) == (422, "validation_error")
        assert problem["context"]["errors"][0]["location"] == ["query", *query]

    async def test_one_series(self, api: Api) -> None:
        posted = (await post(api)).json()
        shown = (await api.client.get(f"/v1/series/{posted['id']}")).json()
        assert shown == {k: v for k, v in posted.items() if k != "skipped_files"}

    async def test_an_unknown_series(self, api: Api) -> None:
        for method in ("GET", "DELETE"):
            response = await api.client.request(method, f"/v1/series/{uuid4()}")
            assert (response.status_code, response.json()["code"]) == (404, "series_not_found")


class TestDeleting:
    async def test_a_series_in_use_stays(self, api: Api) -> None:
        series_id = (await post(api)).json()["id"]
        job = (await api.client.post("/v1/contour-jobs", json={"series_id": series_id})).json()
        response = await api.client.delete(f"/v1/series/{series_id}")
        assert (response.status_code, response.json()["code"]) == (409, "series_in_use")
        assert response.json()["context"]["contour_job_id"] == job["id"]
        assert len(api.stored_files()) == 3

    async def test_files_and_results_go_rows_stay_and_posting_makes_another(self, api: Api) -> None:
        series_id = (await post(api)).json()["id"]
        job = (await api.client.post("/v1/contour-jobs", json={"series_id": series_id})).json()
        finish_job(api)
        deleted = await api.client.delete(f"/v1/series/{series_id}")
        assert deleted.status_code == 200
        assert not api.stored_files()
        shown = (await api.client.get(f"/v1/series/{series_id}")).json()
        assert shown["purged_at"]
        assert shown["series_instance_uid"] == shown["frame_of_reference_uid"] == ""
        rtstruct = await api.client.get(f"/v1/contour-jobs/{job['id']}/rtstruct")
        assert (rtstruct.status_code, rtstruct.json()["code"]) == (410, "result_purged")
        again = await api.client.post("/v1/contour-jobs", json={"series_id": series_id})
        assert (again.status_code, again.json()["code"]) == (410, "series_purged")
        assert (await api.client.delete(f"/v1/series/{series_id}")).json() == deleted.json()
        posted = await post(api)
        assert posted.status_code == 201
        assert posted.json()["id"] != series_id
        assert len(api.stored_files()) == 3
