"""Datasets are made, given sources once a content, and refused what cannot be read."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4
from zipfile import ZIP_STORED

import httpx
import pytest

from services.core.lifecycle import JobState
from services.core.settings import Settings
from services.core.storage import StoredKind
from tests.factories.api import MEBIBYTE, Api
from tests.factories.case_uploads import case_files
from tests.factories.datasets import add_edited_row
from tests.factories.rows import add_job
from tests.factories.uploads import FORM, make_form, make_series, make_zip

pytestmark = pytest.mark.anyio
ZIP = {"Content-Type": "application/zip"}
EMPTY_MAPPING = {"ignore": [], "patient_pattern": None, "structures": {}, "labels": {}}


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    folder = tmp_path / "mount"
    (folder / "clinic" / "2025").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (folder / "way-out").symlink_to(tmp_path / "outside")
    (folder / "same").symlink_to(folder / "clinic")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "a-file").touch()
    return folder


@pytest.fixture
def settings(tmp_path: Path, mount: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        datasets_dir=mount,
        max_upload_bytes=1,
        max_dataset_upload_bytes=4 * MEBIBYTE,
        max_dataset_unpacked_bytes=4 * MEBIBYTE,
        max_file_bytes=MEBIBYTE,
        max_dataset_files=40,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Two patients, as they are sent."""
    return case_files(tmp_path_factory.mktemp("cases"), 1, 2)


async def make(api: Api, name: str = "Cervix", **body: Any) -> dict[str, Any]:
    response = await api.client.post("/v1/datasets", json={"name": name, **body})
    assert response.status_code == 201, response.text
    return response.json()


async def send(
    api: Api, dataset_id: str, files: dict[str, bytes], **headers: str
) -> httpx.Response:
    return await api.client.post(
        f"/v1/datasets/{dataset_id}/cases", content=make_zip(files), headers=ZIP | headers
    )


def refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


class TestMaking:
    async def test_a_dataset_has_its_folder_and_mapping(self, api: Api) -> None:
        mapping = {"structures": {"bladder": "Blase"}, "ignore": ["PTV"]}
        response = await api.client.post(
            "/v1/datasets", json={"name": "A 1.b-c_d", "folder": "clinic", "mapping": mapping}
        )
        body = response.json()
        assert response.status_code == 201
        assert response.headers["Location"] == body["links"]["self"] == f"/v1/datasets/{body['id']}"
        assert body["mapping"] == EMPTY_MAPPING | {
            "structures": {"Bladder": ["Blase"]},
            "ignore": ["PTV"],
        }
        (source,) = body["sources"]
        assert (source["kind"], source["content"]) == ("folder", "clinic")
        assert body["source_counts"] == {"folder": 1}
        assert body["versions"] == []
        assert (await api.client.get(body["links"]["self"])).json() == body

    async def test_a_name_is_taken_once(self, api: Api) -> None:
        await make(api)
        response = await api.client.post("/v1/datasets", json={"name": "Cervix"})
        assert refused(response) == (409, "dataset_exists")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"name": ""},
            {"name": " a"},
            {"name": "a "},
            {"name": "a/b"},
            {"name": "a\n"},
            {"name": "ä"},
            {"name": "a" * 81},
            {"name": "a", "folder": ""},
            {"name": "a", "folder": "a" * 256},
            {"name": "a", "mapping": []},
            {"name": "a", "other": 1},
        ],
    )
    async def test_bad_bodies_are_refused(self, api: Api, body: dict[str, Any]) -> None:
        response = await api.client.post("/v1/datasets", json=body)
        assert refused(response) == (422, "validation_error")
        assert (await api.client.get("/v1/datasets")).json()["items"] == []

    @pytest.mark.parametrize(
        ("folder", "code"),
        [
            ("..", "folder_outside_mount"),
            ("clinic/../..", "folder_outside_mount"),
            ("/etc", "folder_outside_mount"),
            ("way-out", "folder_outside_mount"),
            ("nowhere", "folder_not_found"),
            ("a-file", "folder_not_found"),
            ("circle", "folder_not_found"),
            ("a\0b", "folder_not_found"),
            ("a" * 255 + "/", "validation_error"),
            ("/".join(["a"] * 127), "folder_not_found"),
        ],
    )
    async def test_folders_lie_below_the_mounted_one(
        self, api: Api, folder: str, code: str
    ) -> None:
        response = await api.client.post("/v1/datasets", json={"name": "a", "folder": folder})
        assert refused(response) == (422, code)
        assert (await api.client.get("/v1/datasets")).json()["items"] == []

    @pytest.mark.parametrize(
        "mapping",
        [
            {"structures": {"Spleen": "Milz"}},
            {"structures": {"Bladder": 1}},
            {"structures": {"Bladder": "/(/"}},
            {"patient_pattern": "no group"},
            {"labels": {"Bladder": 0}},
            {"x": 1},
        ],
    )
    async def test_a_mapping_that_cannot_be_used_is_refused_with_the_reason(
        self, api: Api, mapping: dict[str, Any]
    ) -> None:
        response = await api.client.post("/v1/datasets", json={"name": "a", "mapping": mapping})
        assert refused(response) == (422, "mapping_invalid")
        assert len(response.json()["detail"]) > 10
        assert (await api.client.get("/v1/datasets")).json()["items"] == []

    async def test_the_same_keyed_request_makes_nothing_new(self, api: Api) -> None:
        key = {"Idempotency-Key": "k"}
        first, again = [
            await api.client.post("/v1/datasets", json={"name": "a"}, headers=key) for _ in (1, 2)
        ]
        assert first.json() == again.json()
        other = await api.client.post("/v1/datasets", json={"name": "b"}, headers=key)
        assert refused(other) == (409, "idempotency_key_reused")


class TestWithoutAMount:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(data_dir=tmp_path / "data")

    async def test_no_folder_can_be_registered(self, api: Api) -> None:
        response = await api.client.post("/v1/datasets", json={"name": "a", "folder": "."})
        assert refused(response) == (409, "no_mounted_datasets")
        made = await make(api)
        response = await api.client.post(f"/v1/datasets/{made['id']}/folders", json={"folder": "."})
        assert refused(response) == (409, "no_mounted_datasets")


class TestReading:
    async def test_pages_hold_every_dataset_once_newest_first(self, api: Api) -> None:
        made = [(await make(api, name))["id"] for name in "abcde"]
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await api.client.get("/v1/datasets", params=query)).json()
            seen += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert seen == made[::-1]

    async def test_an_unknown_dataset(self, api: Api) -> None:
        path = f"/v1/datasets/{uuid4()}"
        for method, rest, body in (
            ("GET", "", None),
            ("PUT", "/mapping", {}),
            ("POST", "/folders", {"folder": "clinic"}),
            ("POST", "/edited-rtstructs", {}),
            ("POST", "/cases", None),
        ):
            response = await api.client.request(method, path + rest, json=body)
            assert refused(response) == (404, "dataset_not_found")

    async def test_a_mapping_is_replaced_whole(self, api: Api) -> None:
        made = await make(api, mapping={"ignore": ["PTV"]})
        response = await api.client.put(
            f"/v1/datasets/{made['id']}/mapping", json={"labels": {"Rectum": 4}}
        )
        assert response.json()["mapping"] == EMPTY_MAPPING | {"labels": {"Rectum": [4]}}
        response = await api.client.put(f"/v1/datasets/{made['id']}/mapping", json={"x": 1})
        assert refused(response) == (422, "mapping_invalid")
        shown = (await api.client.get(f"/v1/datasets/{made['id']}")).json()
        assert shown["mapping"] == EMPTY_MAPPING | {"labels": {"Rectum": [4]}}


class TestFolders:
    async def test_one_folder_is_one_source_however_it_is_called(self, api: Api) -> None:
        made = await make(api, folder="clinic")
        answers = [
            await api.client.post(f"/v1/datasets/{made['id']}/folders", json={"folder": folder})
            for folder in ("clinic/2025", "./clinic/2025/", "same/2025", "clinic/../same")
        ]
        assert [(r.status_code, r.json()["new_count"]) for r in answers] == [
            (201, 1), (200, 0), (200, 0), (200, 0),
        ]  # fmt: skip
        shown = (await api.client.get(f"/v1/datasets/{made['id']}")).json()
        assert {source["content"] for source in shown["sources"]} == {"clinic", "clinic/2025"}

    async def test_a_folder_outside_is_refused(self, api: Api) -> None:
        made = await make(api)
        response = await api.client.post(
            f"/v1/datasets/{made['id']}/folders", json={"folder": "way-out"}
        )
        assert refused(response) == (422, "folder_outside_mount")


class TestCases:
    async def test_ct_and_structures_are_kept_under_numbers_beside_their_names(
        self, api: Api, files: dict[str, bytes]
    ) -> None:
        made = await make(api)
        extra = {"p1/notes.txt": b"hello", "p1/plan.dcm": b"junk" * 99}
        response = await send(api, made["id"], files | extra)
        body = response.json()
        assert response.status_code == 201
        assert {name: value for name, value in body.items() if name != "source"} == {
            "ct_images": 12,
            "ct_series": 2,
            "structure_sets": 2,
            "unreadable_files": 1,
            "other_dicom_objects": 0,
            "other_files": 1,
        }
        assert (body["source"]["kind"], body["source"]["file_count"]) == ("upload", 15)
        folder = api.data_dir / StoredKind.DATASET_UPLOADS / body["source"]["id"]
        names = json.loads((folder / "names.json").read_text())
        assert set(names.values()) == set(files) | {"p1/plan.dcm"}
        assert all((folder / path).read_bytes() == (files | extra)[n] for path, n in names.items())
        assert "p1" not in "".join(names)
        damaged, beside = (
            {path.split("/")[0] for path, name in names.items() if name.startswith(start)}
            for start in ("p1/plan", "p1/rs")
        )
        assert damaged == beside  # they stay in one folder: the case counts as damaged
        assert not list((api.data_dir / "incoming").iterdir())

    async def test_the_same_files_are_the_same_source_however_they_come(
        self, api: Api, files: dict[str, bytes]
    ) -> None:
        made = await make(api)
        first = await send(api, made["id"], files)
        renamed = {f"x/{name}": content for name, content in reversed(files.items())}
        for content in (make_form(renamed), make_form({"cases.zip": make_zip(renamed)})):
            again = await api.client.post(
                f"/v1/datasets/{made['id']}/cases",
                content=content,
                headers={"Content-Type": FORM},
            )
            assert again.status_code == 200
            assert again.json()["source"] == first.json()["source"]
        other = await make(api, "Other")
        assert (await send(api, other["id"], files)).status_code == 201

    @pytest.mark.parametrize("which", ["ct", "rs", "neither"])
    async def test_an_upload_without_a_case_is_not_kept(
        self, api: Api, files: dict[str, bytes], which: str
    ) -> None:
        made = await make(api)
        sent = {name: content for name, content in files.items() if f"/{which}" in name}
        response = await send(api, made["id"], sent or {"a.txt": b"hello"})
        assert refused(response) == (422, "no_case_in_upload")
        assert api.stored_files() == []
        assert (await api.client.get(f"/v1/datasets/{made['id']}")).json()["sources"] == []

    @pytest.mark.parametrize(
        ("content", "headers", "status", "code"),
        [
            (b"", ZIP, 422, "empty_upload"),
            (b"no zip", ZIP, 422, "not_a_zip"),
            (b"", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
            (make_zip({"../a": b"b"}), ZIP, 422, "path_traversal"),
            (make_zip({str(n): b"b" for n in range(41)}), ZIP, 413, "too_many_files"),
            (bytes(5 * MEBIBYTE), ZIP, 413, "too_many_bytes"),
            (make_zip({"a": bytes(2 * MEBIBYTE)}, ZIP_STORED), ZIP, 413, "too_many_bytes"),
            (make_zip(make_series()), ZIP, 422, "no_case_in_upload"),
        ],
    )
    async def test_bad_uploads_leave_nothing(
        self, api: Api, content: bytes, headers: dict[str, str], status: int, code: str
    ) -> None:
        made = await make(api)
        response = await api.client.post(
            f"/v1/datasets/{made['id']}/cases", content=content, headers=headers
        )
        assert refused(response) == (status, code)
        assert api.stored_files() == []

    async def test_a_key_belongs_to_its_files(self, api: Api, files: dict[str, bytes]) -> None:
        made = await make(api)
        key = {"Idempotency-Key": "k"}
        first = await send(api, made["id"], files, **key)
        with api.unit_of_work() as uow:
            acts = uow.audit.head()
        again = await send(api, made["id"], files, **key)
        assert again.json() == first.json()
        with api.unit_of_work() as uow:
            assert uow.audit.head() == acts
        fewer = {name: content for name, content in files.items() if name.startswith("p1")}
        response = await send(api, made["id"], fewer, **key)
        assert refused(response) == (409, "idempotency_key_reused")
        assert len(list((api.data_dir / StoredKind.DATASET_UPLOADS).iterdir())) == 1


class TestEditedRtstructs:
    async def test_all_that_were_compared_become_sources_once(self, api: Api) -> None:
        made = await make(api)
        uow = api.unit_of_work()
        job = add_job(uow)
        with uow:
            compared = [add_edited_row(uow, job.id) for _ in range(3)]
            add_edited_row(uow, job.id, JobState.QUEUED)
            add_edited_row(uow, job.id, purged_at=job.created_at)
            uow.commit()
        path = f"/v1/datasets/{made['id']}/edited-rtstructs"

        named = await api.client.post(path, json={"edited_rtstruct_ids": [str(compared[1])] * 2})
        rest, none = [await api.client.post(path, json={}) for _ in range(2)]

        assert (named.status_code, named.json()["new_count"]) == (201, 1)
        assert (rest.status_code, rest.json()["new_count"]) == (201, 2)
        assert (none.status_code, none.json()) == (200, {"sources": [], "new_count": 0})
        shown = (await api.client.get(f"/v1/datasets/{made['id']}")).json()
        assert {s["content"] for s in shown["sources"]} == {str(edited) for edited in compared}

    async def test_one_that_cannot_be_used_is_refused_and_nothing_is_added(self, api: Api) -> None:
        made = await make(api)
        uow = api.unit_of_work()
        job = add_job(uow)
        with uow:
            good = add_edited_row(uow, job.id)
            queued = add_edited_row(uow, job.id, JobState.QUEUED)
            failed = add_edited_row(uow, job.id, JobState.FAILED)
            purged = add_edited_row(uow, job.id, purged_at=job.created_at)
            uow.commit()
        for edited_id, status, code in (
            (queued, 409, "edited_rtstruct_not_compared"),
            (failed, 409, "edited_rtstruct_not_compared"),
            (purged, 410, "edited_rtstruct_purged"),
            (uuid4(), 404, "edited_rtstruct_not_found"),
        ):
            response = await api.client.post(
                f"/v1/datasets/{made['id']}/edited-rtstructs",
                json={"edited_rtstruct_ids": [str(good), str(edited_id)]},
            )
            assert refused(response) == (status, code)
            assert response.json()["context"]["edited_rtstruct_id"] == str(edited_id)
        assert (await api.client.get(f"/v1/datasets/{made['id']}")).json()["sources"] == []
