"""A version leaves as one file and enters another service as the same; nothing else enters."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.settings import Settings
from services.core.storage import CARD_NAME, WEIGHTS_NAME, StoredKind
from tests.factories.api import MEBIBYTE, Api
from tests.factories.model_versions import add_dataset_version, add_version, write_weights
from tests.factories.uploads import FORM, make_form, make_zip

pytestmark = pytest.mark.anyio

ZIP = {"Content-Type": "application/zip"}
Files = dict[str, bytes]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", max_model_bytes=4 * MEBIBYTE)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The members of an export."""
    folder = tmp_path / "weights"
    write_weights(folder)
    return with_manifest((folder / WEIGHTS_NAME).read_bytes(), (folder / CARD_NAME).read_bytes())


def with_manifest(weights: bytes, card: bytes, **changes: Any) -> Files:
    def member(content: bytes) -> dict[str, object]:
        return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}

    manifest = {
        "format": 1,
        "name": "imported",
        "structure_set": "cervix",
        "card": member(card),
        "weights": member(weights),
    }
    text = json.dumps(manifest | changes).encode()
    return {"manifest.json": text, CARD_NAME: card, WEIGHTS_NAME: weights}


def with_card(files: Files, change: Callable[[dict[str, Any]], object]) -> Files:
    card = json.loads(files[CARD_NAME])
    change(card)
    return with_manifest(files[WEIGHTS_NAME], json.dumps(card).encode())


async def send(api: Api, content: bytes, headers: dict[str, str] = ZIP, **query: Any):
    return await api.client.post(
        "/v1/model-versions/import", content=content, headers=headers, params=query
    )


class TestExporting:
    async def test_equal_versions_give_equal_bytes(self, api: Api) -> None:
        storage = api.app.state.dependencies.storage
        version_id = add_version(api.unit_of_work(), storage, "cervix-1")

        first = await api.client.get(f"/v1/model-versions/{version_id}/export")
        again = await api.client.get(f"/v1/model-versions/{version_id}/export")

        assert first.status_code == 200
        assert first.headers["Content-Type"] == "application/zip"
        assert 'filename="cervix-1.zip"' in first.headers["Content-Disposition"]
        assert first.content == again.content
        with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["manifest.json", CARD_NAME, WEIGHTS_NAME]
            manifest = json.loads(archive.read("manifest.json"))
            for name, described in ((CARD_NAME, "card"), (WEIGHTS_NAME, "weights")):
                content = archive.read(name)
                stored = storage.file(StoredKind.MODEL_VERSIONS, version_id, name).read_bytes()
                assert content == stored
                assert manifest[described] == {
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "bytes": len(content),
                }
        assert (manifest["format"], manifest["name"]) == (1, "cervix-1")

    async def test_an_unchecked_version_has_no_files(self, api: Api) -> None:
        storage = api.app.state.dependencies.storage
        version_id = add_version(api.unit_of_work(), storage, state=JobState.QUEUED)

        response = await api.client.get(f"/v1/model-versions/{version_id}/export")

        assert (response.status_code, response.json()["code"]) == (409, "model_version_not_ready")

    async def test_changed_weights_do_not_leave(self, api: Api) -> None:
        storage = api.app.state.dependencies.storage
        version_id = add_version(api.unit_of_work(), storage)
        path = storage.file(StoredKind.MODEL_VERSIONS, version_id, WEIGHTS_NAME)
        path.write_bytes(path.read_bytes()[:-1] + b"x")

        response = await api.client.get(f"/v1/model-versions/{version_id}/export")

        assert (response.status_code, response.json()["code"]) == (500, "weights_changed")

    async def test_lost_files_are_told(self, api: Api) -> None:
        storage = api.app.state.dependencies.storage
        version_id = add_version(api.unit_of_work(), storage)
        storage.delete(StoredKind.MODEL_VERSIONS, version_id)

        response = await api.client.get(f"/v1/model-versions/{version_id}/export")

        assert (response.status_code, response.json()["code"]) == (500, "stored_files_missing")


class TestImporting:
    async def test_what_was_exported_is_queued_for_its_check(self, api: Api) -> None:
        storage = api.app.state.dependencies.storage
        exported_id = add_version(api.unit_of_work(), storage, "cervix-1")
        exported = await api.client.get(f"/v1/model-versions/{exported_id}/export")
        # the same service takes the weights again only after the version failed
        with api.unit_of_work() as uow:
            uow.model_versions.get(exported_id).state = JobState.FAILED
            uow.commit()

        response = await send(api, exported.content)

        version = response.json()
        assert response.status_code == 202
        assert response.headers["Location"] == version["links"]["self"]
        assert (version["name"], version["origin"], version["state"]) == (
            "cervix-1",
            "import",
            "queued",
        )
        kept_card = storage.file(StoredKind.MODEL_VERSIONS, exported_id, CARD_NAME).read_bytes()
        assert version["request"]["card_sha256"] == hashlib.sha256(kept_card).hexdigest()
        for name in (CARD_NAME, WEIGHTS_NAME):
            sent = storage.file(StoredKind.MODEL_UPLOADS, UUID(version["id"]), name)
            kept = storage.file(StoredKind.MODEL_VERSIONS, exported_id, name)
            assert sent.read_bytes() == kept.read_bytes()
        (message,) = api.queue.messages
        assert message.task is TaskName.MODEL_VERSION_CHECK

    async def test_it_may_be_the_one_file_of_a_form_and_get_another_name(
        self, api: Api, files: Files
    ) -> None:
        response = await send(
            api, make_form({"v.zip": make_zip(files)}), {"Content-Type": FORM}, name="local-1"
        )

        assert (response.status_code, response.json()["name"]) == (202, "local-1")

    async def test_the_same_weights_twice_are_refused(self, api: Api, files: Files) -> None:
        first = await send(api, make_zip(files))
        again = await send(api, make_zip(files), name="another")

        assert (again.status_code, again.json()["code"]) == (409, "model_version_exists")
        assert again.json()["context"]["model_version_id"] == first.json()["id"]
        assert len([n for n in api.stored_files() if n.startswith("model-uploads")]) == 2

    async def test_a_key_imports_once(self, api: Api, files: Files) -> None:
        headers = ZIP | {"Idempotency-Key": "k"}
        first = await send(api, make_zip(files), headers)
        again = await send(api, make_zip(files), headers)
        other = await send(api, make_zip(files), headers, margin=0.5)

        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")

    async def test_the_dataset_it_is_judged_on_must_be_there(self, api: Api, files: Files) -> None:
        storage = api.app.state.dependencies.storage
        good = add_dataset_version(api.unit_of_work(), storage)
        queued = add_dataset_version(api.unit_of_work(), storage, state=JobState.QUEUED)

        unknown = await send(api, make_zip(files), dataset_version_id=uuid4())
        not_ready = await send(api, make_zip(files), dataset_version_id=queued)
        taken = await send(api, make_zip(files), dataset_version_id=good)

        assert (unknown.status_code, unknown.json()["code"]) == (404, "dataset_version_not_found")
        assert (not_ready.status_code, not_ready.json()["code"]) == (409, "dataset_not_ready")
        assert taken.json()["dataset_version_id"] == str(good)


BROKEN: dict[str, Callable[[Files], Files]] = {
    "a member too many": lambda files: files | {"notes.txt": b"x"},
    "a member in a folder": lambda files: {f"v/{name}": text for name, text in files.items()},
    "a member too few": lambda files: {n: t for n, t in files.items() if n != CARD_NAME},
    "no manifest": lambda files: files | {"manifest.json": b"{"},
    "another format": lambda files: with_manifest(files[WEIGHTS_NAME], files[CARD_NAME], format=2),
    "an unusable name": lambda files: with_manifest(
        files[WEIGHTS_NAME], files[CARD_NAME], name="a\\b"
    ),
    "other weights": lambda files: files | {WEIGHTS_NAME: files[WEIGHTS_NAME] + b"x"},
    "another card": lambda files: files | {CARD_NAME: files[CARD_NAME] + b" "},
    "a card of other weights": lambda files: with_card(
        files, lambda card: card.update(weights_sha256="0" * 64)
    ),
    "no configuration": lambda files: with_card(files, lambda card: card.pop("run_config")),
    "an impossible configuration": lambda files: with_card(
        files, lambda card: card["run_config"]["network"].update(width=1e6)
    ),
    "a card that is a list": lambda files: with_manifest(files[WEIGHTS_NAME], b"[]"),
    "a card that is no text": lambda files: with_manifest(files[WEIGHTS_NAME], b"\xff\xfe"),
    "a card without bottom": lambda files: with_manifest(files[WEIGHTS_NAME], b"[" * 100_000),
    "text no database takes": lambda files: with_card(files, lambda c: c.update(command="\0")),
    "half a character": lambda files: with_card(files, lambda c: c.update(command="\ud800")),
    "a long card": lambda files: with_manifest(files[WEIGHTS_NAME], b" " * (5 << 20)),
}


class TestRefusing:
    @pytest.mark.parametrize("case", [name for name in BROKEN if name != "a long card"])
    async def test_what_no_export_gives_is_refused(self, api: Api, files: Files, case: str) -> None:
        response = await send(api, make_zip(BROKEN[case](files)))

        expected = "too_many_files" if case == "a member too many" else "model_archive_invalid"
        assert response.json()["code"] == expected, response.text
        assert response.status_code in (413, 422)
        assert api.is_empty()

    async def test_more_bytes_than_a_version_may_have_are_refused(
        self, api: Api, files: Files
    ) -> None:
        response = await send(api, make_zip(BROKEN["a long card"](files)))

        assert (response.status_code, response.json()["code"]) == (413, "too_many_bytes")
        assert api.is_empty()

    async def test_other_structures_are_refused(self, api: Api, files: Files) -> None:
        def three_classes(card: dict[str, Any]) -> None:
            card["run_config"]["network"]["class_count"] = 3

        response = await send(api, make_zip(with_card(files, three_classes)))

        assert (response.status_code, response.json()["code"]) == (422, "structures_differ")

    @pytest.mark.parametrize(
        ("content", "headers", "code"),
        [
            (b"no zip", ZIP, "not_a_zip"),
            (b"", ZIP, "empty_upload"),
            (b"{}", {"Content-Type": "application/json"}, "unsupported_media_type"),
            (
                make_form({"a": b"1", "b": b"2"}),
                {"Content-Type": FORM},
                "model_archive_invalid",
            ),
            (make_form({"a": b"1"}), {"Content-Type": FORM}, "model_archive_invalid"),
        ],
    )
    async def test_bodies_that_are_no_zip(
        self, api: Api, content: bytes, headers: dict[str, str], code: str
    ) -> None:
        response = await send(api, content, headers)

        assert response.json()["code"] == code
        assert api.is_empty()

    async def test_doubled_members_are_refused(self, api: Api, files: Files) -> None:
        buffer = io.BytesIO(make_zip({n: t for n, t in files.items() if n != CARD_NAME}))
        with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("manifest.json", files["manifest.json"])

        response = await send(api, buffer.getvalue())

        assert response.json()["code"] == "model_archive_invalid"

    @pytest.mark.parametrize(
        "query", [{"name": "a b"}, {"margin": 2}, {"evaluation_cases": 0}, {"colour": "red"}]
    )
    async def test_bad_questions(self, api: Api, files: Files, query: dict[str, Any]) -> None:
        response = await send(api, make_zip(files), **query)

        assert (response.status_code, response.json()["code"]) == (422, "validation_error")
