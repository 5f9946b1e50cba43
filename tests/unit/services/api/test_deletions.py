"""Whatever is deleted answers with a record that stays, and is gone for everybody at once."""

from collections.abc import Callable
from typing import Any
from unittest.mock import ANY
from uuid import UUID, uuid4

import httpx
import pytest

from services.api import removal
from services.core.audit import ResourceKind
from services.core.audit_chain import entry_sha256
from services.core.database import utc_now
from services.core.errors import StorageUnavailableError
from services.core.lifecycle import DatasetSourceKind, JobState
from services.core.storage import FilesystemStorage, StoredKind
from services.core.tables.contouring import ContourJob
from services.core.tables.datasets import DatasetCase, DatasetSource, DatasetVersion
from services.core.tables.model_versions import ModelVersion, ShadowContour
from services.core.tables.reviews import EditedRtstruct, Review
from services.worker.clearing import purge_edited, purge_results, purge_series
from tests.factories.api import Api
from tests.factories.planted import NOW, Planted, plant

pytestmark = pytest.mark.anyio

PATHS: dict[ResourceKind, str] = {
    ResourceKind.SERIES: "series/{series}",
    ResourceKind.CONTOUR_JOB: "contour-jobs/{contour_job}",
    ResourceKind.EDITED_RTSTRUCT: "edited-rtstructs/{edited_rtstruct}",
    ResourceKind.DATASET: "datasets/{dataset}",
    ResourceKind.DATASET_SOURCE: "datasets/{dataset}/sources/{dataset_source}",
    ResourceKind.DATASET_VERSION: "dataset-versions/{dataset_version}",
    ResourceKind.MODEL_VERSION: "model-versions/{model_version}",
    ResourceKind.REPORT: "experiment-reports/{report}",
}


@pytest.fixture
def storage(api: Api) -> FilesystemStorage:
    return api.app.state.dependencies.storage


@pytest.fixture
def planted(api: Api, storage: FilesystemStorage) -> Planted:
    return plant(api.unit_of_work(), storage)


def path_of(kind: ResourceKind, planted: Planted) -> str:
    return "/v1/" + PATHS[kind].format(**{one.value: i for one, i in planted.ids.items()})


async def delete(api: Api, kind: ResourceKind, planted: Planted, **query: str) -> httpx.Response:
    return await api.client.delete(path_of(kind, planted), params=query)


def change(api: Api, table: Any, row_id: UUID, **values: object) -> None:
    with api.unit_of_work() as uow:
        row = uow._session.get_one(table, row_id)
        for name, value in values.items():
            setattr(row, name, value)
        uow.commit()


def refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


class TestRecord:
    @pytest.mark.parametrize("kind", sorted(PATHS))
    async def test_it_says_what_was_removed_and_stays(
        self, api: Api, planted: Planted, kind: ResourceKind
    ) -> None:
        response = await delete(api, kind, planted, with_versions="true")

        assert response.status_code == 200
        record = response.json()
        assert (record["resource_kind"], record["resource_id"]) == (kind, str(planted.ids[kind]))
        assert (record["cause"], record["actor_kind"]) == ("requested", "api_key")
        assert record["requested_at"] <= record["completed_at"]
        files = sum(removed["files"] for removed in record["removed"].values())
        assert files == planted.files_of(kind)
        assert record["rows"]
        hashed = {name: record[name] for name in record.keys() - {"sha256", "links"}}
        assert record["sha256"] == entry_sha256(hashed)
        shown = await api.client.get(record["links"]["self"])
        assert shown.json() == record
        assert response.headers["Location"] == record["links"]["self"]

    @pytest.mark.parametrize("kind", sorted(PATHS))
    async def test_deleting_again_shows_the_same(
        self, api: Api, planted: Planted, kind: ResourceKind
    ) -> None:
        first = await delete(api, kind, planted, with_versions="true")
        again = await delete(api, kind, planted, with_versions="true")

        assert again.status_code == 200
        assert again.json() == first.json()

    async def test_what_went_with_something_else_shows_how_it_went(
        self, api: Api, planted: Planted
    ) -> None:
        gone = (await delete(api, ResourceKind.SERIES, planted)).json()
        for kind in (ResourceKind.CONTOUR_JOB, ResourceKind.EDITED_RTSTRUCT):
            assert (await delete(api, kind, planted)).json() == gone
        gone = (await delete(api, ResourceKind.DATASET, planted)).json()
        assert (await delete(api, ResourceKind.DATASET_VERSION, planted)).json() == gone

    @pytest.mark.parametrize("kind", sorted(PATHS))
    async def test_unknown_ids(self, api: Api, planted: Planted, kind: ResourceKind) -> None:
        planted.ids[kind] = uuid4()
        response = await delete(api, kind, planted)
        assert refused(response)[0] == 404

    async def test_lists(self, api: Api, planted: Planted) -> None:
        made = [(await delete(api, kind, planted)).json() for kind in (
            ResourceKind.SERIES, ResourceKind.REPORT, ResourceKind.DATASET
        )]  # fmt: skip

        async def listed(**query: Any) -> list[str]:
            page = await api.client.get("/v1/deletions", params=query)
            return [item["id"] for item in page.json()["items"]]

        ids = [record["id"] for record in made]
        assert await listed() == ids[::-1]
        assert await listed(limit=1) == ids[2:]
        assert await listed(resource_kind="report") == [ids[1]]
        assert await listed(resource_id=made[0]["resource_id"]) == [ids[0]]
        assert await listed(is_completed=True) == ids[::-1]
        assert await listed(is_completed=False) == []
        unknown = await api.client.get(f"/v1/deletions/{uuid4()}")
        assert refused(unknown) == (404, "deletion_not_found")


class TestUnfinished:
    async def test_many_files_are_left_to_a_worker(
        self, api: Api, planted: Planted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(removal, "MOST_FILES", 3)

        response = await delete(api, ResourceKind.SERIES, planted)

        record = response.json()
        assert (response.status_code, record["completed_at"]) == (202, None)
        assert record["sha256"] is None
        assert record["removed"]["series"]["files"] == 2  # counted, and still there
        series = (await api.client.get(path_of(ResourceKind.SERIES, planted))).json()
        assert series["purged_at"] is not None
        monkeypatch.setattr(removal, "MOST_FILES", 5000)
        again = await delete(api, ResourceKind.SERIES, planted)
        assert (again.status_code, again.json()["id"]) == (200, record["id"])

    async def test_a_storage_in_trouble_does_not_undo_it(
        self, api: Api, planted: Planted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise StorageUnavailableError("the storage cannot be used (EIO)", reason="EIO")

        monkeypatch.setattr(FilesystemStorage, "erase", fail)

        response = await delete(api, ResourceKind.REPORT, planted)

        assert (response.status_code, response.json()["completed_at"]) == (202, None)
        file = await api.client.get(f"{path_of(ResourceKind.REPORT, planted)}/files/a.csv")
        assert refused(file) == (410, "report_purged")


class TestSeriesAndJobs:
    @pytest.mark.parametrize("kind", [ResourceKind.SERIES, ResourceKind.CONTOUR_JOB])
    async def test_texts_go_and_numbers_stay(
        self, api: Api, planted: Planted, kind: ResourceKind
    ) -> None:
        await delete(api, kind, planted)

        job_id = planted.ids[ResourceKind.CONTOUR_JOB]
        with api.unit_of_work() as uow:
            job = uow.contour_jobs.get(job_id)
            (review,) = uow._session.query(Review).filter_by(job_id=job_id)
            (shadow,) = uow._session.query(ShadowContour).filter_by(job_id=job_id)
        bare = {"code": "region_ignored", "structure": None, "message": "", "facts": {}}
        assert job.warnings == shadow.warnings == [bare]
        assert (shadow.error_code, shadow.error_context) == ("dicom_error", None)
        assert (review.reviewer, review.comment) == ("anna", None)

    async def test_a_series_stays_when_its_job_goes(self, api: Api, planted: Planted) -> None:
        await delete(api, ResourceKind.CONTOUR_JOB, planted)

        series = (await api.client.get(path_of(ResourceKind.SERIES, planted))).json()
        assert series["purged_at"] is None
        assert series["series_instance_uid"] == planted.marks[ResourceKind.SERIES]

    async def test_a_shadow_in_progress_ends(self, api: Api, planted: Planted) -> None:
        job_id = planted.ids[ResourceKind.CONTOUR_JOB]
        with api.unit_of_work() as uow:
            (shadow,) = uow._session.query(ShadowContour).filter_by(job_id=job_id)
        change(api, ShadowContour, shadow.id, state=JobState.RUNNING, fencing_token=1)

        await delete(api, ResourceKind.CONTOUR_JOB, planted)

        with api.unit_of_work() as uow:
            shadow = uow.shadow_contours.get(shadow.id)
        assert (shadow.state, shadow.fencing_token) == (JobState.CANCELLED, 2)

    @pytest.mark.parametrize("table", [ContourJob, EditedRtstruct, DatasetVersion])
    @pytest.mark.parametrize(
        "kind", [ResourceKind.SERIES, ResourceKind.CONTOUR_JOB, ResourceKind.EDITED_RTSTRUCT]
    )
    async def test_what_is_in_progress_keeps_them(
        self, api: Api, planted: Planted, kind: ResourceKind, table: Any
    ) -> None:
        if table is DatasetVersion:
            in_progress = version_that_reads_the_edit(api, planted)
        else:
            in_progress = planted.ids[ResourceKind(table.__tablename__)]
            change(api, table, in_progress, state=JobState.RUNNING)
        if (kind, table) == (ResourceKind.EDITED_RTSTRUCT, ContourJob):
            return  # a job that runs has no edits

        response = await delete(api, kind, planted)

        assert refused(response) == (409, f"{kind}_in_use")
        assert str(in_progress) in str(response.json()["context"])
        assert len(api.stored_files()) > 20

    async def test_versions_read_before_are_named(self, api: Api, planted: Planted) -> None:
        version_id = version_that_reads_the_edit(api, planted)
        change(api, DatasetVersion, version_id, state=JobState.SUCCEEDED)

        record = (await delete(api, ResourceKind.SERIES, planted)).json()

        assert record["remaining"] == {"dataset_version": [str(version_id)]}


class TestAfterRetention:
    """What datasets collected outlives its origin, but not a person's word."""

    @pytest.fixture
    def source_id(self, api: Api, planted: Planted, storage: FilesystemStorage) -> str:
        """The source of a dataset that collected the edit, which retention removed since."""
        edited_id = str(planted.ids[ResourceKind.EDITED_RTSTRUCT])
        with api.unit_of_work() as uow:
            (source,) = uow._session.query(DatasetSource).filter_by(content=edited_id)
        for purge in (purge_edited, purge_results, purge_series):
            purge(api.unit_of_work(), storage, utc_now())
        return str(source.id)

    async def test_its_record_names_what_stays(
        self, api: Api, planted: Planted, source_id: str
    ) -> None:
        page = await api.client.get(
            "/v1/deletions", params={"resource_kind": "edited_rtstruct", "limit": 1}
        )
        (record,) = page.json()["items"]
        assert record["cause"] == "retention"
        assert record["remaining"] == {"dataset_source": [source_id]}

    @pytest.mark.parametrize(
        "kind", [ResourceKind.SERIES, ResourceKind.CONTOUR_JOB, ResourceKind.EDITED_RTSTRUCT]
    )
    async def test_a_request_removes_it_and_is_on_record(
        self, api: Api, planted: Planted, source_id: str, kind: ResourceKind
    ) -> None:
        response = await delete(api, kind, planted)

        record = response.json()
        assert (response.status_code, record["cause"]) == (200, "requested")
        assert record["removed"] == {"dataset-uploads": {"folders": 1, "files": 2, "bytes": ANY}}
        assert (record["rows"]["dataset_source"], record["remaining"]) == (1, {})
        assert not any(source_id in name for name in api.stored_files())
        entries = (await api.client.get("/v1/audit-entries")).json()["items"]
        asked = [e for e in entries if e["facts"].get("deletion_id") == record["id"]]
        assert [(e["action"], e["actor_kind"]) for e in asked] == [(f"{kind}_deleted", "api_key")]
        assert (await delete(api, kind, planted)).json() == record

    async def test_versions_in_progress_keep_it(
        self, api: Api, planted: Planted, source_id: str
    ) -> None:
        version_that_reads_the_edit(api, planted)

        response = await delete(api, ResourceKind.SERIES, planted)

        assert refused(response) == (409, "series_in_use")
        assert any(source_id in name for name in api.stored_files())

    async def test_versions_read_before_are_named(
        self, api: Api, planted: Planted, source_id: str
    ) -> None:
        version_id = version_that_reads_the_edit(api, planted)
        change(api, DatasetVersion, version_id, state=JobState.SUCCEEDED)

        record = (await delete(api, ResourceKind.SERIES, planted)).json()

        assert record["remaining"] == {"dataset_version": [str(version_id)]}


def version_that_reads_the_edit(api: Api, planted: Planted) -> UUID:
    """A queued version of the dataset that has the planted edit as a source."""
    edited_id = str(planted.ids[ResourceKind.EDITED_RTSTRUCT])
    with api.unit_of_work() as uow:
        (source,) = uow._session.query(DatasetSource).filter_by(
            kind=DatasetSourceKind.EDITED_RTSTRUCT, content=edited_id
        )
        version = uow.dataset_versions.add(
            source.dataset_id,
            {"sources": [{"id": str(source.id), "content": edited_id}]},
            structure_set="cervix",
            correlation_id="c",
            max_attempts=1,
        )
        uow.commit()
    return version.id


class TestDatasets:
    async def test_a_deleted_one_is_gone_and_its_name_free(
        self, api: Api, planted: Planted
    ) -> None:
        await delete(api, ResourceKind.DATASET, planted)

        path = path_of(ResourceKind.DATASET, planted)
        for response in (
            await api.client.get(path),
            await api.client.post(f"{path}/versions", json={}),
            await api.client.get(f"{path}/versions"),
            await api.client.put(f"{path}/mapping", json={}),
        ):
            assert refused(response) == (410, "dataset_removed")
        names = [item["name"] for item in (await api.client.get("/v1/datasets")).json()["items"]]
        assert planted.marks[ResourceKind.DATASET] not in names
        again = {"name": planted.marks[ResourceKind.DATASET]}
        assert (await api.client.post("/v1/datasets", json=again)).status_code == 201
        version = await api.client.get(path_of(ResourceKind.DATASET_VERSION, planted))
        assert version.json()["purged_at"] is not None

    async def test_a_source_stays_while_versions_read_from_it_do(
        self, api: Api, planted: Planted
    ) -> None:
        response = await delete(api, ResourceKind.DATASET_SOURCE, planted)
        version_id = str(planted.ids[ResourceKind.DATASET_VERSION])
        assert refused(response) == (409, "dataset_source_in_use")
        assert response.json()["context"]["dataset_version_ids"] == [version_id]
        await delete(api, ResourceKind.DATASET_VERSION, planted)

        assert (await delete(api, ResourceKind.DATASET_SOURCE, planted)).status_code == 200

        shown = (await api.client.get(path_of(ResourceKind.DATASET, planted))).json()
        assert shown["sources"] == []

    @pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
    async def test_a_version_that_could_not_read_a_source_says_nothing_of_it_any_more(
        self, api: Api, planted: Planted, storage: FilesystemStorage, state: JobState
    ) -> None:
        version_id = planted.ids[ResourceKind.DATASET_VERSION]
        change(api, DatasetVersion, version_id, state=state)
        storage.delete(StoredKind.DATASETS, version_id)

        response = await delete(api, ResourceKind.DATASET_SOURCE, planted)

        assert response.status_code == 200
        assert response.json()["rows"] == {
            "dataset_source": 1,
            "dataset_version": 1,
            "dataset_case": 1,
        }
        with api.unit_of_work() as uow:
            (case,) = uow._session.query(DatasetCase).filter_by(version_id=version_id)
            version = uow.dataset_versions.get(version_id)
        assert (case.name, case.message, case.facts, case.notes) == ("", None, {}, [])
        assert case.unmatched_names == []
        assert (version.state, version.error_detail, version.error_context) == (state, None, None)
        assert not storage.list_stored(StoredKind.WORKSPACES, 0)

    @pytest.mark.parametrize("kind", [ResourceKind.DATASET, ResourceKind.DATASET_SOURCE])
    @pytest.mark.parametrize("user", ["version", "model"])
    async def test_what_is_in_progress_keeps_them(
        self, api: Api, planted: Planted, kind: ResourceKind, user: str
    ) -> None:
        version_id = planted.ids[ResourceKind.DATASET_VERSION]
        if user == "version":
            with api.unit_of_work() as uow:
                uow.dataset_versions.add(
                    planted.ids[ResourceKind.DATASET],
                    {"sources": []},
                    structure_set="cervix",
                    correlation_id="c",
                    max_attempts=1,
                )
                uow.commit()
        else:
            model_id = planted.ids[ResourceKind.MODEL_VERSION]
            change(
                api, ModelVersion, model_id, state=JobState.QUEUED, dataset_version_id=version_id
            )

        response = await delete(api, kind, planted, with_versions="true")

        assert refused(response) == (409, "dataset_in_use")


class TestModelsAndReports:
    async def test_only_a_retired_model_goes(self, api: Api, planted: Planted) -> None:
        version_id = planted.ids[ResourceKind.MODEL_VERSION]
        change(api, ModelVersion, version_id, retired_at=None)
        response = await delete(api, ResourceKind.MODEL_VERSION, planted)
        assert refused(response) == (409, "model_version_not_retired")

        change(api, ModelVersion, version_id, retired_at=NOW)
        await delete(api, ResourceKind.MODEL_VERSION, planted)

        path = path_of(ResourceKind.MODEL_VERSION, planted)
        shown = (await api.client.get(path)).json()
        assert (shown["card"], shown["request"], shown["links"]["export"]) == (
            None, {"notes": None}, None,
        )  # fmt: skip
        assert shown["purged_at"] is not None
        export = await api.client.get(f"{path}/export")
        assert refused(export) == (410, "model_version_purged")

    async def test_its_weights_may_come_again(self, api: Api, planted: Planted) -> None:
        version_id = planted.ids[ResourceKind.MODEL_VERSION]
        await delete(api, ResourceKind.MODEL_VERSION, planted)
        with api.unit_of_work() as uow:
            gone = uow.model_versions.get(version_id)
            again = ModelVersion(
                id=uuid4(),
                name=gone.name,
                origin=gone.origin,
                request={},
                weights_sha256=gone.weights_sha256,
                structure_set="cervix",
                correlation_id="c",
                max_attempts=1,
            )
            assert uow.model_versions.add(again) is again

    async def test_a_report_in_progress_stays(self, api: Api, planted: Planted) -> None:
        with api.unit_of_work() as uow:
            report = uow.reports.get(planted.ids[ResourceKind.REPORT], locked=True)
            report.state = JobState.RUNNING
            uow.commit()
        response = await delete(api, ResourceKind.REPORT, planted)
        assert refused(response) == (409, "report_in_progress")


async def test_no_folder_is_needed_by_what_was_deleted(
    api: Api, planted: Planted, storage: FilesystemStorage
) -> None:
    """Where files of a deleted resource come back, by a restored disk, they are orphans."""
    for kind in sorted(PATHS):
        await delete(api, kind, planted, with_versions="true")
    needed: dict[StoredKind, Callable[[Any], Any]] = {
        StoredKind.MODEL_VERSIONS: lambda uow: uow.model_versions.with_files_among,
        StoredKind.REPORTS: lambda uow: uow.reports.with_files_among,
        StoredKind.DATASET_UPLOADS: lambda uow: uow.datasets.with_source_among,
        StoredKind.DATASETS: lambda uow: uow.dataset_versions.stored_among,
    }
    with api.unit_of_work() as uow:
        for among in needed.values():
            assert among(uow)(list(planted.ids.values())) == set()
