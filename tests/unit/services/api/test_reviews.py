"""Readers grade the contours of a finished job; the latest review of each counts."""

import json
from typing import Any
from uuid import uuid4

import pytest

from services.api.reviews.schemas import ReviewTag
from services.core.queue import TaskName
from tests.factories.api import Api, finish_job
from tests.factories.uploads import make_series, make_zip

pytestmark = pytest.mark.anyio

ALL_SLICES = {"first_slice": 1, "last_slice": 3}
BLADDER = {"structure": "Bladder", "grade": "acceptable"}
REVIEW = {"reviewer": "Dr. A", "grades": [BLADDER | ALL_SLICES]}


async def queued_job(api: Api) -> str:
    response = await api.client.post(
        "/v1/autocontour",
        content=make_zip(make_series(3)),
        headers={"Content-Type": "application/zip"},
    )
    return response.json()["job"]["id"]


async def finished_job(api: Api) -> str:
    job_id = await queued_job(api)
    finish_job(api)
    return job_id


async def post(api: Api, job_id: str, body: Any = None, headers: dict[str, str] | None = None):
    return await api.client.post(
        f"/v1/contour-jobs/{job_id}/reviews", json=body or REVIEW, headers=headers
    )


async def refusal(api: Api, *grades: dict[str, Any]) -> tuple[int, str, dict[str, Any]]:
    response = await post(api, await finished_job(api), {"reviewer": "A", "grades": grades})
    problem = response.json()
    return response.status_code, problem["code"], problem["context"]


class TestPosting:
    async def test_a_review_is_kept_with_its_counts(self, api: Api) -> None:
        job_id = await finished_job(api)
        body = {
            "reviewer": "  Dr. A ",
            "grades": [
                BLADDER | ALL_SLICES,
                {
                    "structure": "CTV-UV",
                    "slice_number": 2,
                    "grade": "major_revision",
                    "tags": ["boundary_too_small", "other", "other"],
                },
            ],
            "minutes": 4.5,
            "comment": "two\nlines",
        }

        response = await post(api, job_id, body)

        review = response.json()
        assert response.status_code == 201
        assert response.headers["Location"] == f"/v1/reviews/{review['id']}"
        assert (review["reviewer"], review["minutes"]) == ("Dr. A", 4.5)
        assert review["graded_slices"] == 4
        assert review["counts"]["Bladder"]["acceptable"] == 3
        assert review["counts"]["CTV-UV"] == {
            "acceptable": 0,
            "minor_revision": 0,
            "major_revision": 1,
            "unacceptable": 0,
        }
        shown = (await api.client.get(review["links"]["self"])).json()
        assert shown["grades"][3] == {
            "structure": "CTV-UV",
            "slice_number": 2,
            "grade": "major_revision",
            "tags": ["boundary_too_small", "other"],
        }
        assert {key: shown[key] for key in review} == review

    async def test_the_latest_of_a_reader_counts_and_all_are_listed(self, api: Api) -> None:
        job_id = await finished_job(api)
        first = (await post(api, job_id)).json()
        second = (await post(api, job_id)).json()
        other = (await post(api, job_id, REVIEW | {"reviewer": "Dr. B"})).json()

        path = f"/v1/contour-jobs/{job_id}/reviews"
        page = (await api.client.get(path, params={"limit": 2})).json()
        rest = (await api.client.get(path, params={"cursor": page["next_cursor"]})).json()

        listed = page["items"] + rest["items"]
        assert [item["id"] for item in listed] == [other["id"], second["id"], first["id"]]
        assert [item["superseded_at"] is None for item in listed] == [True, True, False]
        assert all(item["counts"]["Bladder"]["acceptable"] == 3 for item in listed)

    async def test_a_key_makes_one_review(self, api: Api) -> None:
        job_id = await finished_job(api)
        first = await post(api, job_id, headers={"Idempotency-Key": "k"})
        again = await post(api, job_id, headers={"Idempotency-Key": "k"})
        assert (again.status_code, again.json()) == (201, first.json())
        other = REVIEW | {"minutes": 1.0}
        reused = await post(api, job_id, other, headers={"Idempotency-Key": "k"})
        assert (reused.status_code, reused.json()["code"]) == (409, "idempotency_key_reused")

    async def test_every_documented_reason_is_taken(self, api: Api) -> None:
        grade = BLADDER | ALL_SLICES | {"tags": [tag.value for tag in ReviewTag]}
        review = await post(api, await finished_job(api), {"reviewer": "A", "grades": [grade]})
        assert review.status_code == 201


class TestRefusals:
    async def test_a_job_without_a_result_cannot_be_graded(self, api: Api) -> None:
        unknown = await post(api, str(uuid4()))
        assert (unknown.status_code, unknown.json()["code"]) == (404, "contour_job_not_found")
        job_id = await queued_job(api)
        early = await post(api, job_id)
        assert (early.status_code, early.json()["code"]) == (409, "job_not_finished")
        await api.client.post(f"/v1/contour-jobs/{job_id}/cancel")
        cancelled = await post(api, job_id)
        assert (cancelled.status_code, cancelled.json()["code"]) == (409, "job_cancelled")
        failed_id = await queued_job(api)
        with api.unit_of_work() as uow:
            claim = uow.leases.claim(
                TaskName.CONTOUR_JOB_RUN, api.queue.resource_ids[-1], owner="w", seconds=60
            )
            assert claim is not None
            uow.leases.fail(claim, code="pixels_truncated", detail="cut", context={})
            uow.commit()
        failed = await post(api, failed_id)
        assert (failed.status_code, failed.json()["code"]) == (409, "job_failed")

    async def test_a_removed_result_cannot_be_graded(self, api: Api) -> None:
        job_id = await finished_job(api)
        job = (await api.client.get(f"/v1/contour-jobs/{job_id}")).json()
        await api.client.delete(job["links"]["series"])
        response = await post(api, job_id)
        assert (response.status_code, response.json()["code"]) == (410, "result_purged")

    async def test_a_structure_that_was_not_drawn(self, api: Api) -> None:
        status, code, context = await refusal(api, BLADDER | ALL_SLICES | {"structure": "Liver"})
        assert (status, code) == (422, "unknown_structure")
        assert context["structures"] == ["CTV-N", "CTV-UV", "Bladder", "Rectum"]

    @pytest.mark.parametrize(
        "slices", [{"slice_number": 4}, {"first_slice": 2, "last_slice": 100_000}]
    )
    async def test_a_slice_that_does_not_exist(self, api: Api, slices: dict[str, int]) -> None:
        status, code, context = await refusal(api, BLADDER | slices)
        assert (status, code) == (422, "slice_out_of_range")
        assert context["slice_count"] == 3

    async def test_a_slice_graded_twice(self, api: Api) -> None:
        again = BLADDER | {"slice_number": 2}
        status, code, context = await refusal(api, BLADDER | ALL_SLICES, again)
        assert (status, code) == (422, "duplicate_grade")
        assert context == {"structure": "Bladder", "slice_number": 2}

    @pytest.mark.parametrize(
        "body",
        [
            {},
            REVIEW | {"grades": []},
            REVIEW | {"reviewer": " "},
            REVIEW | {"reviewer": "x" * 81},
            REVIEW | {"reviewer": "A\x00"},
            REVIEW | {"reviewer": "A\nB"},
            REVIEW | {"reviewer": "\ud800"},
            REVIEW | {"comment": "\x00"},
            REVIEW | {"comment": "x" * 4001},
            REVIEW | {"minutes": -1},
            REVIEW | {"mood": "good"},
            REVIEW | {"grades": [BLADDER]},
            REVIEW | {"grades": [BLADDER | {"first_slice": 1}]},
            REVIEW | {"grades": [BLADDER | {"first_slice": 3, "last_slice": 1}]},
            REVIEW | {"grades": [BLADDER | ALL_SLICES | {"slice_number": 1}]},
            REVIEW | {"grades": [BLADDER | {"slice_number": 0}]},
            REVIEW | {"grades": [BLADDER | {"slice_number": 1, "grade": "fine"}]},
            REVIEW | {"grades": [BLADDER | {"slice_number": 1, "tags": ["ugly"]}]},
            REVIEW | {"grades": [BLADDER | {"slice_number": 1, "structure": "B\x00"}]},
        ],
        ids=lambda body: str(body)[:60].encode("ascii", "replace").decode(),
    )
    async def test_bad_bodies(self, api: Api, body: dict[str, Any]) -> None:
        job_id = await finished_job(api)
        response = await api.client.post(
            f"/v1/contour-jobs/{job_id}/reviews",
            content=json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")
        listed = (await api.client.get(f"/v1/contour-jobs/{job_id}/reviews")).json()
        assert listed["items"] == []

    async def test_unknown_ids(self, api: Api) -> None:
        review = await api.client.get(f"/v1/reviews/{uuid4()}")
        assert (review.status_code, review.json()["code"]) == (404, "review_not_found")
        listed = await api.client.get(f"/v1/contour-jobs/{uuid4()}/reviews")
        assert (listed.status_code, listed.json()["code"]) == (404, "contour_job_not_found")
