"""What a submitter sees: its own, and nothing that would tell of anything else."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.core.actor import Role
from services.core.tables.access import ReaderName
from tests.factories.access import add_key, bearer
from tests.factories.api import Api, finish_job
from tests.factories.uploads import FORM, make_form, make_series

pytestmark = pytest.mark.anyio

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """Somebody with a key."""

    api: Api
    headers: dict[str, str]

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = self.headers | options.pop("headers", {})
        return await self.api.client.request(method, path, headers=headers, **options)

    async def ids(self, path: str) -> list[str]:
        return [item["id"] for item in (await self.request("GET", path)).json()["items"]]

    async def post_ct(self, route: str, body: bytes, **headers: str) -> httpx.Response:
        return await self.request(
            "POST", route, content=body, headers={"Content-Type": FORM, **headers}
        )


def client(api: Api, role: Role = Role.SUBMITTER) -> Client:
    return Client(api=api, headers=bearer(add_key(api.unit_of_work, role)))


def ct(number: int = 0) -> bytes:
    return make_form(make_series(3, every=lambda dataset: setattr(dataset, "KVP", 100 + number)))


async def submitted(client: Client, number: int = 0) -> Json:
    made = (await client.post_ct("/v1/autocontour", ct(number))).json()
    return {"series": made["series"]["id"], "job": made["job"]["id"]}


class TestSeries:
    async def test_what_others_posted_is_as_what_does_not_exist(self, api: Api) -> None:
        owner, stranger = client(api), client(api)
        own = await submitted(owner)
        for known, unknown in (
            (f"/v1/series/{own['series']}", f"/v1/series/{uuid4()}"),
            (f"/v1/contour-jobs/{own['job']}", f"/v1/contour-jobs/{uuid4()}"),
            (f"/v1/contour-jobs/{own['job']}/rtstruct", f"/v1/contour-jobs/{uuid4()}/rtstruct"),
        ):
            assert (await owner.request("GET", known)).status_code in (200, 409)
            answers = [await stranger.request("GET", path) for path in (known, unknown)]
            assert [answer.status_code for answer in answers] == [404, 404]
            said = [
                {**answer.json(), "instance": "", "correlation_id": "", "context": {}, "detail": ""}
                for answer in answers
            ]
            assert said[0] == said[1]

    async def test_what_others_posted_cannot_be_used(self, api: Api) -> None:
        owner, stranger = client(api), client(api)
        own = await submitted(owner)
        answers = [
            await stranger.request("DELETE", f"/v1/series/{own['series']}"),
            await stranger.request("POST", f"/v1/contour-jobs/{own['job']}/cancel"),
            await stranger.request("POST", "/v1/contour-jobs", json={"series_id": own["series"]}),
        ]
        assert [answer.status_code for answer in answers] == [404, 404, 404]
        assert (await owner.request("GET", f"/v1/contour-jobs/{own['job']}")).json()[
            "state"
        ] == "queued"

    async def test_lists_hold_what_is_ones_own(self, api: Api) -> None:
        first, second = client(api), client(api)
        owns = [await submitted(first, 0), await submitted(second, 1), await submitted(first, 2)]
        mine = [owns[2], owns[0]]
        assert await first.ids("/v1/series") == [own["series"] for own in mine]
        assert await first.ids("/v1/contour-jobs") == [own["job"] for own in mine]
        assert await second.ids("/v1/series") == [owns[1]["series"]]
        series = owns[1]["series"]
        assert await first.ids(f"/v1/contour-jobs?series_id={series}") == []
        for role in (Role.REVIEWER, Role.ADMIN):
            assert len(await client(api, role).ids("/v1/series")) == 3
            assert len(await client(api, role).ids("/v1/contour-jobs")) == 3

    async def test_pages_of_ones_own_follow_each_other(self, api: Api) -> None:
        owner, other = client(api), client(api)
        owns = []
        for number in range(5):
            owns.append(await submitted(owner, number))
            await submitted(other, 10 + number)
        found: list[str] = []
        path = "/v1/series?limit=2"
        cursor = ""
        while cursor is not None:
            page = (await owner.request("GET", f"{path}{cursor and '&cursor=' + cursor}")).json()
            found += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert found == [own["series"] for own in reversed(owns)]

    async def test_the_same_content_belongs_to_all_who_posted_it(self, api: Api) -> None:
        first, second = client(api), client(api)
        own = await submitted(first)
        posted = await second.post_ct("/v1/series", ct())
        assert (posted.status_code, posted.json()["id"]) == (200, own["series"])
        assert await second.ids("/v1/series") == [own["series"]]
        assert await second.ids("/v1/contour-jobs") == []
        again = await second.post_ct("/v1/series", ct())
        assert again.status_code == 200

    async def test_a_renewed_key_is_the_same_client(self, api: Api) -> None:
        made = await api.client.post("/v1/api-keys", json={"name": "tps", "role": "submitter"})
        old = Client(api=api, headers=bearer(made.json()["key"]))
        own = await submitted(old)
        path = f"/v1/api-keys/{made.json()['id']}"
        await api.client.post(f"{path}/revoke")
        renewed = await api.client.post(f"{path}/renew", json={"days": 7})
        new = Client(api=api, headers=bearer(renewed.json()["key"]))
        assert (await old.request("GET", "/v1/me")).status_code == 401
        assert await new.ids("/v1/contour-jobs") == [own["job"]]


class TestDeletion:
    async def test_who_posted_a_series_may_take_it_back(self, api: Api) -> None:
        owner = client(api)
        own = await submitted(owner)
        finish_job(api)
        assert (await owner.request("DELETE", f"/v1/series/{own['series']}")).status_code == 200
        assert api.stored_files() == []

    async def test_who_asked_for_a_deletion_may_follow_it(self, api: Api) -> None:
        owner, stranger = client(api), client(api)
        own = await submitted(owner)
        finish_job(api)
        deleted = await owner.request("DELETE", f"/v1/series/{own['series']}")
        path = deleted.headers["Location"]

        followed = await owner.request("GET", path)
        others = await stranger.request("GET", path)
        unknown = await stranger.request("GET", f"/v1/deletions/{uuid4()}")

        assert (followed.status_code, followed.json()) == (200, deleted.json())
        assert (others.status_code, others.json()["code"]) == (404, "deletion_not_found")
        assert unknown.json()["code"] == "deletion_not_found"
        assert (await client(api, Role.ADMIN).request("GET", path)).status_code == 200

    async def test_jobs_of_others_on_the_series_end_with_it(self, api: Api) -> None:
        owner, admin = client(api), client(api, Role.ADMIN)
        own = await submitted(owner)
        finish_job(api)
        body = {"series_id": own["series"]}
        theirs = (await admin.request("POST", "/v1/contour-jobs", json=body)).json()["id"]
        refused = await owner.request("DELETE", f"/v1/series/{own['series']}")
        assert (refused.status_code, refused.json()["code"]) == (409, "series_in_use")
        finish_job(api)
        assert (await owner.request("DELETE", f"/v1/series/{own['series']}")).status_code == 200
        gone = await admin.request("GET", f"/v1/contour-jobs/{theirs}/rtstruct")
        assert gone.status_code == 410

    async def test_what_others_posted_too_stays_until_an_administrator_removes_it(
        self, api: Api
    ) -> None:
        first, second = client(api), client(api)
        own = await submitted(first)
        finish_job(api)
        await second.post_ct("/v1/series", ct())
        refused = await first.request("DELETE", f"/v1/series/{own['series']}")
        assert (refused.status_code, refused.json()["code"]) == (409, "series_shared")
        admin = client(api, Role.ADMIN)
        assert (await admin.request("DELETE", f"/v1/series/{own['series']}")).status_code == 200


class TestIdempotencyKeys:
    async def test_the_same_key_of_two_clients_is_two_keys(self, api: Api) -> None:
        first, second = client(api), client(api)
        key = {"Idempotency-Key": "plan-1"}
        jobs = [
            (await who.post_ct("/v1/autocontour", ct(number), **key)).json()["job"]["id"]
            for who, number in ((first, 0), (second, 1), (first, 0))
        ]
        assert jobs[0] == jobs[2] != jobs[1]


class TestReviews:
    async def post(self, who: Client, job_id: str, reviewer: str) -> httpx.Response:
        grades = [{"structure": "Bladder", "slice_number": 1, "grade": "acceptable"}]
        body = {"reviewer": reviewer, "grades": grades}
        return await who.request("POST", f"/v1/contour-jobs/{job_id}/reviews", json=body)

    async def test_nobody_reviews_in_the_name_of_another(self, api: Api) -> None:
        own = await submitted(client(api))
        finish_job(api)
        curie, meitner = client(api, Role.REVIEWER), client(api, Role.REVIEWER)
        assert (await self.post(curie, own["job"], "Curie")).status_code == 201
        refused = await self.post(meitner, own["job"], "Curie")
        assert (refused.status_code, refused.json()["code"]) == (409, "reader_name_taken")
        assert (await self.post(meitner, own["job"], "Meitner")).status_code == 201
        assert (await self.post(curie, own["job"], "Curie")).status_code == 201

    async def test_nobody_signs_with_what_looks_like_the_name_of_another(self, api: Api) -> None:
        own = await submitted(client(api))
        finish_job(api)
        meyer, other = client(api, Role.REVIEWER), client(api, Role.REVIEWER)
        made = await self.post(
            meyer, own["job"], "Anna\N{NO-BREAK SPACE}Mu\N{COMBINING DIAERESIS}ller"
        )
        assert (made.status_code, made.json()["reviewer"]) == (201, "Anna Müller")
        for name in (
            "Anna Müller",
            "Anna  Müller",
            "\N{FULLWIDTH LATIN CAPITAL LETTER A}nna Müller",
        ):
            assert (await self.post(meyer, own["job"], name)).status_code == 201
            refused = await self.post(other, own["job"], name)
            assert (refused.status_code, refused.json()["code"]) == (409, "reader_name_taken")
        invisible = await self.post(other, own["job"], "Anna\N{ZERO WIDTH SPACE} Müller")
        assert (invisible.status_code, invisible.json()["code"]) == (422, "validation_error")

    async def test_a_name_claimed_in_an_older_spelling_stays_its_owners(self, api: Api) -> None:
        own = await submitted(client(api))
        finish_job(api)
        obrien, other = client(api, Role.REVIEWER), client(api, Role.REVIEWER)
        name = "O\N{ACUTE ACCENT}Brien"  # has a space in it for who compares
        me = (await obrien.request("GET", "/v1/me")).json()["id"]
        with api.unit_of_work() as uow:
            uow._session.add(ReaderName(name=name, actor_id=me))
            uow.commit()
        assert (await self.post(other, own["job"], name)).status_code == 409
        assert (await self.post(obrien, own["job"], name)).status_code == 201

    async def test_an_administrator_brings_in_reviews_of_anybody(self, api: Api) -> None:
        own = await submitted(client(api))
        finish_job(api)
        curie, admin = client(api, Role.REVIEWER), client(api, Role.ADMIN)
        assert (await self.post(admin, own["job"], "Curie")).status_code == 201
        assert (await self.post(curie, own["job"], "Curie")).status_code == 201
        assert (await self.post(admin, own["job"], "Curie")).status_code == 201

    async def test_a_review_knows_who_sent_it(self, api: Api) -> None:
        own = await submitted(client(api))
        finish_job(api)
        curie = client(api, Role.REVIEWER)
        made = (await self.post(curie, own["job"], "Curie")).json()
        me = (await curie.request("GET", "/v1/me")).json()["id"]
        with api.unit_of_work() as uow:
            assert uow.reviews.get(UUID(made["id"])).reviewed_by == me
