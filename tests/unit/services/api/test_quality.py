"""Reports on contours: the paper's table, agreement of readers, and drift."""

import csv
import datetime as dt
import io
from typing import Any

import pytest

from ml.grading import Grade, KappaWeights, weighted_kappa
from services.api.quality.tables import wants_csv
from tests.factories.api import Api
from tests.factories.reviews import add_edit, add_finished_job, add_review

pytestmark = pytest.mark.anyio

PUBLISHED = {
    "CTV-N": ((466, 117, 69, 26), (68.73, 17.26, 10.18, 3.83), 85.99),
    "CTV-UV": ((460, 90, 61, 67), (67.85, 13.27, 9.00, 9.88), 81.12),
    "Bladder": ((616, 28, 14, 20), (90.86, 4.13, 2.06, 2.95), 94.99),
    "Rectum": ((536, 61, 23, 58), (79.06, 9.00, 3.39, 8.55), 88.05),
}
"""Table 2 of the paper: counts, percentages, acceptability."""
NAMES = [grade.value for grade in Grade]
LETTERS = "amMu"
EDIT = {"dice": 0.5, "added_path_length_mm": 30.0, "relative_added_path": None}


def published() -> dict[str, str]:
    """Letters of every slice of every structure, as the paper counts them."""
    return {
        structure: "".join(LETTERS[place] * count for place, count in enumerate(counts))
        for structure, (counts, *_) in PUBLISHED.items()
    }


async def acceptability(api: Api, **query: Any) -> dict[str, Any]:
    response = await api.client.get("/v1/reports/acceptability", params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def table(api: Api, path: str, **query: Any) -> list[dict[str, str]]:
    response = await api.client.get(path, params=query, headers={"Accept": "text/csv"})
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"].startswith("text/csv")
    assert response.headers["Vary"] == "Accept"
    return list(csv.DictReader(io.StringIO(response.text)))


class TestThePublishedTable:
    async def test_its_counts_give_its_percentages(self, api: Api) -> None:
        uow = api.unit_of_work()
        add_review(uow, add_finished_job(uow).id, published(), minutes=12.5)

        report = await acceptability(api)

        (group,) = report["groups"]
        assert [row["structure"] for row in group["structures"]] == list(PUBLISHED)
        for row in group["structures"]:
            counts, percentages, share = PUBLISHED[row["structure"]]
            assert row["graded_slices"] == 678
            assert tuple(row["counts"][name] for name in NAMES) == counts
            assert tuple(round(row["percentages"][name], 2) for name in NAMES) == percentages
            assert round(row["acceptability"], 2) == share
        means = group["mean"]["percentages"]
        assert [round(means[name], 2) for name in NAMES] == [76.62, 10.91, 6.16, 6.31]
        # the paper adds the rounded means: 76.62 + 10.91 = 87.53
        assert round(means["acceptable"], 2) + round(means["minor_revision"], 2) == pytest.approx(
            87.53
        )
        assert group["mean"]["acceptability"] == pytest.approx(87.5369, abs=1e-4)
        assert (group["jobs"], group["reviews"], group["readers"]) == (1, 1, 1)
        assert (group["graded_slices"], group["median_minutes"]) == (4 * 678, 12.5)
        assert report["agreement"] == []

    async def test_the_table_comes_as_csv(self, api: Api) -> None:
        uow = api.unit_of_work()
        add_review(uow, add_finished_job(uow).id, published())

        rows = await table(api, "/v1/reports/acceptability", group_by="model_version")

        assert [row["structure"] for row in rows] == [*PUBLISHED, "mean"]
        assert {row["model_version"] for row in rows} == {"v1"}
        assert rows[2]["acceptable"] == "616"
        assert round(float(rows[2]["acceptability_percent"]), 2) == 94.99
        assert rows[4]["acceptable"] == ""
        assert round(float(rows[4]["acceptable_percent"]), 2) == 76.62


class TestGroups:
    async def test_two_groups_at_once(self, api: Api) -> None:
        uow = api.unit_of_work()
        for version, letters in (("v1", "aa"), ("v2", "um")):
            job_id = add_finished_job(uow, model_version=version).id
            add_review(uow, job_id, {"Bladder": letters}, reviewer="anna")
            add_review(uow, job_id, {"Bladder": "aa"}, reviewer="bert")

        report = await acceptability(api, group_by=["model_version", "reviewer"])

        assert {
            (g["key"]["model_version"], g["key"]["reviewer"]): g["mean"]["acceptability"]
            for g in report["groups"]
        } == {("v1", "anna"): 100, ("v1", "bert"): 100, ("v2", "anna"): 50, ("v2", "bert"): 100}
        assert report["group_by"] == ["model_version", "reviewer"]

    async def test_by_month_and_by_structure(self, api: Api) -> None:
        uow = api.unit_of_work()
        review = add_review(uow, add_finished_job(uow).id, {"Bladder": "a", "Rectum": "u"})
        month = review.created_at.strftime("%Y-%m")

        by_month = await acceptability(api, group_by="month")
        by_structure = await acceptability(api, group_by="structure")

        assert [group["key"] for group in by_month["groups"]] == [{"month": month}]
        assert [g["key"]["structure"] for g in by_structure["groups"]] == ["Bladder", "Rectum"]
        assert [len(g["structures"]) for g in by_structure["groups"]] == [1, 1]

    async def test_filters(self, api: Api) -> None:
        uow = api.unit_of_work()
        add_review(uow, add_finished_job(uow).id, {"Bladder": "a", "Rectum": "u"}, reviewer="A")
        add_review(uow, add_finished_job(uow).id, {"Bladder": "m"}, reviewer="B")
        now = dt.datetime.now(dt.UTC)

        only = await acceptability(api, structure="Bladder", reviewer="A", model_version="v1")
        later = await acceptability(api, created_from=(now + dt.timedelta(days=1)).isoformat())
        before = await acceptability(api, created_to=(now + dt.timedelta(days=1)).isoformat())

        (group,) = only["groups"]
        assert [row["structure"] for row in group["structures"]] == ["Bladder"]
        assert group["reviews"] == 1
        assert later["groups"] == []
        assert before["groups"][0]["reviews"] == 2

    @pytest.mark.parametrize(
        "query",
        [
            {"group_by": "colour"},
            {"group_by": ["month", "month"]},
            {"group_by": ["none", "month"]},
            {"group_by": ["month", "reviewer", "structure"]},
            {"created_from": "2026-01-01T00:00:00"},
            {"reviewer": "a\x00"},
            {"structure": "a\x00"},
            {"model_version": "x" * 65},
            {"mood": "good"},
        ],
    )
    async def test_bad_queries(self, api: Api, query: dict[str, Any]) -> None:
        response = await api.client.get("/v1/reports/acceptability", params=query)
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")


class TestAgreement:
    async def test_kappa_is_that_of_the_grades_themselves(self, api: Api) -> None:
        uow = api.unit_of_work()
        given = {"anna": "aamMuaamu", "bert": "aaamuamMu", "carl": "aaaaaaaaa"}
        job_id = add_finished_job(uow).id
        for reviewer, letters in given.items():
            add_review(uow, job_id, {"CTV-UV": letters}, reviewer=reviewer)
        pairs = [
            (Grade(NAMES[LETTERS.index(one)]), Grade(NAMES[LETTERS.index(other)]))
            for one, other in zip(given["anna"], given["bert"], strict=True)
        ]

        by_structure, overall = (await acceptability(api))["agreement"]

        assert (by_structure["structure"], overall["structure"]) == ("CTV-UV", None)
        first, *others = by_structure["pairs"]
        assert (first["readers"], first["slices"]) == (["anna", "bert"], 9)
        assert first["exact_agreement"] == pytest.approx(5 / 9)
        assert first["linear_kappa"] == pytest.approx(weighted_kappa(pairs, KappaWeights.LINEAR))
        assert first["quadratic_kappa"] == pytest.approx(weighted_kappa(pairs))
        assert [pair["readers"] for pair in others] == [["anna", "carl"], ["bert", "carl"]]
        kappas = [pair["quadratic_kappa"] for pair in by_structure["pairs"]]
        assert by_structure["mean_quadratic_kappa"] == pytest.approx(sum(kappas) / 3)
        assert overall["pairs"] == by_structure["pairs"]

    async def test_structures_are_pooled_for_all_together(self, api: Api) -> None:
        uow = api.unit_of_work()
        job_id = add_finished_job(uow).id
        add_review(uow, job_id, {"Bladder": "aa", "Rectum": "uu"}, reviewer="anna")
        add_review(uow, job_id, {"Bladder": "aa", "Rectum": "uM"}, reviewer="bert")

        bladder, rectum, overall = (await acceptability(api))["agreement"]

        # both gave one grade throughout: chance leaves nothing to disagree about
        assert bladder["pairs"][0]["quadratic_kappa"] is None
        assert bladder["mean_quadratic_kappa"] is None
        assert rectum["pairs"][0]["quadratic_kappa"] == 0
        assert overall["pairs"][0]["slices"] == 4
        assert overall["pairs"][0]["exact_agreement"] == 0.75
        assert overall["pairs"][0]["quadratic_kappa"] > 0.9


class TestDrift:
    async def test_months_tell_of_grades_edits_and_warnings(self, api: Api) -> None:
        uow = api.unit_of_work()
        warning = {"code": "no_pelvis", "structure": None, "message": "a test", "facts": {}}
        job = add_finished_job(uow, warnings=[warning])
        with uow:
            for made in (job, add_finished_job(uow)):
                uow.contour_jobs.get(made.id).created_at = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
            uow.commit()
        add_review(uow, job.id, {"Bladder": "aamu"})
        add_edit(uow, job.id, {"Bladder": EDIT})

        drift = (await api.client.get("/v1/reports/drift")).json()

        (group,) = drift["groups"]
        assert (drift["by"], group["group"], group["jobs"]) == ("month", "2026-03", 2)
        assert group["warnings"] == {"total": 1, "per_job": 0.5, "jobs_with_warnings": 1}
        assert group["acceptability"]["mean"]["acceptability"] == 75
        assert group["edits"] == {"Bladder": {"edits": 1} | EDIT}
        assert group["shadows"] == {}

    async def test_model_versions_stand_beside_each_other(self, api: Api) -> None:
        uow = api.unit_of_work()
        for version in ("v2", "v1"):
            add_finished_job(uow, model_version=version)

        response = await api.client.get("/v1/reports/drift", params={"by": "model_version"})

        groups = response.json()["groups"]
        assert [group["group"] for group in groups] == ["v1", "v2"]
        assert [group["acceptability"] for group in groups] == [None, None]

    async def test_it_comes_as_csv(self, api: Api) -> None:
        uow = api.unit_of_work()
        job = add_finished_job(uow)
        add_review(uow, job.id, {"Rectum": "aM"})
        add_edit(uow, job.id, {"Bladder": EDIT})

        rows = await table(api, "/v1/reports/drift", by="model_version")

        assert [row["structure"] for row in rows] == ["Rectum", "Bladder", "mean"]
        assert {row["jobs"] for row in rows} == {"1"}
        assert [row["acceptability_percent"] for row in rows] == ["50.0", "", "50.0"]
        assert [row["dice"] for row in rows] == ["", "0.5", ""]
        assert [row["edits"] for row in rows] == ["0", "1", ""]

    async def test_nothing_has_no_groups(self, api: Api) -> None:
        assert (await api.client.get("/v1/reports/drift")).json() == {"by": "month", "groups": []}
        assert (await acceptability(api))["groups"] == []

    async def test_an_unknown_group_is_refused(self, api: Api) -> None:
        response = await api.client.get("/v1/reports/drift", params={"by": "scanner"})
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")


class TestCsv:
    async def test_a_reader_called_like_a_formula_starts_none(self, api: Api) -> None:
        uow = api.unit_of_work()
        add_review(uow, add_finished_job(uow).id, {"Bladder": "a"}, reviewer="=1+1")

        rows = await table(api, "/v1/reports/acceptability", group_by="reviewer")

        assert rows[0]["reviewer"] == "'=1+1"

    @pytest.mark.parametrize(
        ("accept", "wanted"),
        [
            (None, False),
            ("*/*", False),
            ("text/csv", True),
            ("Text/CSV; charset=utf-8, */*;q=0.1", True),
            ("application/json, text/csv", False),
        ],
    )
    def test_what_an_accept_header_asks_for(self, accept: str | None, wanted: bool) -> None:
        assert wants_csv(accept) is wanted
