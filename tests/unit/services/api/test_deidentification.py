"""A CT is stored without its patient, and its sender gets an RTSTRUCT of the CT that was sent."""

import dataclasses
import hashlib
import io
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import httpx
import pydicom
import pytest

from ml.dicom.rtstruct_check import check_rtstruct
from ml.dicom.series import index_series, list_source_files
from services.api.identities import Identities, PrivateKeyInvalidError, SealUnreadableError
from services.api.main import create_app
from services.core.lifecycle import CaseStatus
from services.core.queue import TaskName
from services.core.settings import Settings
from services.core.storage import SEALED_NAME, FilesystemStorage
from services.core.tables.datasets import DatasetCase
from services.worker.context import WorkerContext
from tests.factories.api import STEADY_PROBES, Api
from tests.factories.datasets import add_dataset, queue_version
from tests.factories.uploads import encode, make_slice, make_zip
from tests.factories.workers import run_task, worker_beside
from tests.fakes import BoundedThreads

pytestmark = pytest.mark.anyio
MARKER = "ZQXMARKER"
DICOM = "application/dicom"
KEY_FOLDERS = ("private/", "key-ids/")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"deidentify_stored_series": True})


@pytest.fixture
def worker(api: Api) -> Iterator[WorkerContext]:
    with worker_beside(api) as worker:
        yield worker


@pytest.fixture
def ct(tmp_path: Path) -> dict[str, bytes]:
    """A CT whose every name says the same word, and the same on disk."""
    files: dict[str, bytes] = {}
    (tmp_path / "ct").mkdir()
    for number in range(1, 4):
        dataset = make_slice(number, 32)
        dataset.PatientName = dataset.PatientID = dataset.StudyDescription = MARKER
        dataset.InstitutionName = dataset.AccessionNumber = dataset.StudyID = MARKER
        files[f"{MARKER}{number}.dcm"] = encode(dataset)
        (tmp_path / "ct" / f"{number}.dcm").write_bytes(encode(dataset))
    return files


async def post(api: Api, files: dict[str, bytes], path: str = "/v1/autocontour") -> httpx.Response:
    return await api.client.post(
        path, content=make_zip(files), headers={"Content-Type": "application/zip"}
    )


async def contoured(api: Api, worker: WorkerContext, ct: dict[str, bytes]) -> str:
    """The path of a finished job."""
    answer = (await post(api, ct)).json()
    run_task(worker, TaskName.CONTOUR_JOB_RUN, UUID(answer["job"]["id"]))
    return f"/v1/contour-jobs/{answer['job']['id']}"


def assert_nothing_says(api: Api, *words: str) -> None:
    """Neither a file, nor its name, nor a row."""
    with closing(sqlite3.connect(api.data_dir / "cervicontour.sqlite")) as database:
        dump = "\n".join(database.iterdump()).encode()
    for word in words:
        assert word.encode() not in dump
        for path in api.data_dir.rglob("*"):
            assert word not in path.name
            if path.is_file() and not path.name.startswith("cervicontour.sqlite"):
                assert word.encode() not in path.read_bytes(), path


class TestSeries:
    async def test_rows_and_files_name_nobody(self, api, ct):
        sent = pydicom.dcmread(io.BytesIO(next(iter(ct.values()))))
        answer = (await post(api, ct, "/v1/series")).json()
        assert answer["is_deidentified"]
        assert answer["series_instance_uid"].startswith("2.25.")
        assert_nothing_says(
            api,
            MARKER,
            sent.SeriesInstanceUID,
            sent.StudyInstanceUID,
            hashlib.sha256(ct[f"{MARKER}1.dcm"]).hexdigest(),
        )

    async def test_the_same_content_is_the_same_series(self, api, ct):
        first = await post(api, ct, "/v1/series")
        second = await post(api, ct, "/v1/series")
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json()["id"] == second.json()["id"]

    async def test_a_removed_series_may_be_posted_anew(self, api, ct):
        first = (await post(api, ct, "/v1/series")).json()
        assert (await api.client.delete(first["links"]["self"])).status_code == 200
        assert not [name for name in api.stored_files() if not name.startswith(KEY_FOLDERS)]
        again = await post(api, ct, "/v1/series")
        assert again.status_code == 201
        assert again.json()["id"] != first["id"]

    async def test_burned_in_text_is_refused_and_nothing_kept(self, api):
        def burn(number):
            dataset = make_slice(number)
            dataset.BurnedInAnnotation = "YES"
            return encode(dataset)

        answer = await post(api, {f"{n}": burn(n) for n in (1, 2, 3)}, "/v1/series")
        assert (answer.status_code, answer.json()["code"]) == (422, "burned_in_annotation")
        assert len(answer.json()["context"]["sop_instance_uids"]) == 3
        assert all(name.startswith(KEY_FOLDERS) for name in api.stored_files())

    async def test_keys_are_there_before_the_first_series(self, api):
        names = {"private/pseudonym.key", "private/sealing.key"}
        notes = {"key-ids/pseudonym.id", "key-ids/sealing.id"}
        assert names | notes == set(api.stored_files())
        for name in names:
            assert (api.data_dir / name).stat().st_mode & 0o777 == 0o600


class TestResult:
    async def test_it_is_one_of_the_ct_that_was_sent(self, api, worker, ct, tmp_path):
        job = await contoured(api, worker, ct)
        answer = await api.client.get(f"{job}/rtstruct")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == DICOM
        assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
        assert ".dcm" in answer.headers["content-disposition"]
        (tmp_path / "rs.dcm").write_bytes(answer.content)
        check_rtstruct(tmp_path / "rs.dcm", index_series(list_source_files(tmp_path / "ct")))
        dataset = pydicom.dcmread(tmp_path / "rs.dcm")
        assert dataset.PatientName == dataset.PatientID == MARKER
        assert dataset.StudyDescription == dataset.StudyID == MARKER
        assert "PatientIdentityRemoved" not in dataset
        assert_nothing_says(api, MARKER)

    async def test_who_has_it_gets_it_once(self, api, worker, ct):
        job = await contoured(api, worker, ct)
        etag = (await api.client.get(f"{job}/rtstruct")).headers["etag"]
        again = await api.client.get(f"{job}/rtstruct", headers={"If-None-Match": etag})
        assert again.status_code == 304

    async def test_a_lost_key_is_told(self, api, worker, ct):
        job = await contoured(api, worker, ct)
        (api.data_dir / "private" / "sealing.key").unlink()
        answer = await api.client.get(f"{job}/rtstruct")
        assert (answer.status_code, answer.json()["code"]) == (503, "private_key_missing")
        assert not (api.data_dir / "private" / "sealing.key").exists()

    async def test_what_cannot_be_linked_is_not_given_away(self, api, worker, ct):
        job = await contoured(api, worker, ct)
        (path,) = (api.data_dir / "results").rglob("rtstruct.dcm")
        path.write_bytes(path.read_bytes().replace(b"UNAPPROVED", b"APPROVED  "))
        answer = await api.client.get(f"{job}/rtstruct")
        assert (answer.status_code, answer.json()["code"]) == (500, "relinking_failed")

    async def test_the_setting_of_today_does_not_matter(self, api, worker, ct):
        job = await contoured(api, worker, ct)
        api.app.state.dependencies = _without_deidentifying(api)
        dataset = pydicom.dcmread(io.BytesIO((await api.client.get(f"{job}/rtstruct")).content))
        assert dataset.PatientID == MARKER


class TestEdits:
    async def test_an_edit_is_stored_without_the_patient_and_given_back_as_sent(
        self, api, worker, ct
    ):
        job = await contoured(api, worker, ct)
        sent = (await api.client.get(f"{job}/rtstruct")).content
        edited = await self.send(api, job, sent)
        assert edited.status_code == 202
        assert_nothing_says(api, MARKER)
        run_task(worker, TaskName.EDITED_RTSTRUCT_COMPARE, UUID(edited.json()["id"]))
        path = f"/v1/edited-rtstructs/{edited.json()['id']}"
        shown = (await api.client.get(path)).json()
        assert shown["state"] == "succeeded"
        assert {score["dice"] for score in shown["scores"].values()} == {1.0}
        back = await api.client.get(f"{path}/rtstruct")
        assert back.content == sent
        assert (await self.send(api, job, sent)).status_code == 200

    async def test_an_edit_of_another_ct_is_refused(self, api, worker, ct):
        job = await contoured(api, worker, ct)
        dataset = pydicom.dcmread(io.BytesIO((await api.client.get(f"{job}/rtstruct")).content))
        for region in dataset.StructureSetROISequence:
            region.ReferencedFrameOfReferenceUID = "1.2.3"
        dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3"
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        answer = await self.send(api, job, buffer.getvalue())
        assert (answer.status_code, answer.json()["code"]) == (422, "wrong_frame_of_reference")

    async def test_a_damaged_edit_is_refused(self, api, worker, ct):
        job = await contoured(api, worker, ct)
        dataset = pydicom.dcmread(io.BytesIO((await api.client.get(f"{job}/rtstruct")).content))
        del dataset.SOPInstanceUID
        buffer = io.BytesIO()
        dataset.save_as(buffer)
        answer = await self.send(api, job, buffer.getvalue())
        assert (answer.status_code, answer.json()["code"]) == (422, "edited_rtstruct_invalid")

    async def test_a_dataset_takes_it_without_what_is_sealed(self, api, worker, ct):
        job = await contoured(api, worker, ct)
        edited = await self.send(api, job, (await api.client.get(f"{job}/rtstruct")).content)
        run_task(worker, TaskName.EDITED_RTSTRUCT_COMPARE, UUID(edited.json()["id"]))
        dataset = (await api.client.post("/v1/datasets", json={"name": "edits"})).json()
        sources = f"/v1/datasets/{dataset['id']}/edited-rtstructs"
        await api.client.post(sources, json={"edited_rtstruct_ids": [edited.json()["id"]]})
        version = (await api.client.post(f"/v1/datasets/{dataset['id']}/versions", json={})).json()
        run_task(worker, TaskName.DATASET_VERSION_INDEX, UUID(version["id"]))
        path = f"/v1/dataset-versions/{version['id']}"
        shown = (await api.client.get(path)).json()
        assert (shown["state"], shown["case_count"]) == ("succeeded", 1), shown
        cases = (await api.client.get(f"{path}/cases")).json()["items"]
        pseudonym = Identities(worker.storage).pseudonyms().patient(MARKER)
        assert [case["patient"] for case in cases] == [pseudonym]
        assert not list((api.data_dir / "dataset-uploads").rglob(SEALED_NAME))
        assert_nothing_says(api, MARKER)

    @staticmethod
    async def send(api: Api, job: str, content: bytes) -> httpx.Response:
        return await api.client.post(
            f"{job}/edited-rtstructs?reviewer=Dr%20A",
            content=content,
            headers={"Content-Type": DICOM},
        )


async def metrics(api: Api) -> str:
    return (await api.client.get("/metrics")).text


class TestLostKeys:
    """private/ is a mount of its own that is not there, or a key in it was lost."""

    async def test_nothing_is_taken_under_other_keys(self, api, ct):
        assert 'cervicontour_up{component="private_keys"} 1.0' in await metrics(api)
        lose(api)
        answer = await post(api, ct)
        assert (answer.status_code, answer.json()["code"]) == (503, "private_key_missing")
        assert not (api.data_dir / "private").exists()
        assert 'cervicontour_up{component="private_keys"} 0.0' in await metrics(api)

    async def test_a_start_makes_none_and_says_so(self, api, settings, ct, capsys):
        assert (await post(api, ct)).status_code == 202
        lose(api)
        for notes in (True, False):  # a restored storage has none: its rows tell
            if not notes:
                shutil.rmtree(api.data_dir / "key-ids")
            checks = await checks_after_a_start(api, settings)
            assert checks["private_keys"] == {
                "is_ok": False,
                "detail": "pseudonym.key is missing: is private/ in its place?",
            }
            assert not (api.data_dir / "private").exists()
        assert "private_key_missing" in capsys.readouterr().err

    async def test_other_keys_are_told_from_them(self, api, settings, ct):
        lose(api)
        (api.data_dir / "private").mkdir()
        for name in ("pseudonym.key", "sealing.key"):
            (api.data_dir / "private" / name).write_text("ab" * 32)
        answer = await post(api, ct)
        assert (answer.status_code, answer.json()["code"]) == (500, "private_key_changed")
        assert not (await checks_after_a_start(api, settings))["private_keys"]["is_ok"]

    async def test_all_is_well_once_they_are_back(self, api, settings, ct):
        place = lose(api)
        assert not (await checks_after_a_start(api, settings))["private_keys"]["is_ok"]
        place.rename(api.data_dir / "private")
        assert (await checks_after_a_start(api, settings))["private_keys"]["is_ok"]
        assert (await post(api, ct)).status_code == 202

    async def test_a_sealing_key_is_made_where_only_datasets_were(self, api, settings, worker):
        add_patient(worker)
        for name in ("private/sealing.key", "key-ids/sealing.id"):
            (api.data_dir / name).unlink()
        assert (await checks_after_a_start(api, settings))["private_keys"]["is_ok"]


def add_patient(worker: WorkerContext) -> None:
    uow = worker.unit_of_work()
    version_id = queue_version(uow, add_dataset(uow))
    case = DatasetCase(version_id=version_id, position=0, name="p1", patient="patient-1")
    case.status = CaseStatus.IMPORTED
    with uow:
        uow.dataset_cases.replace(version_id, [case])
        uow.commit()


def lose(api: Api) -> Path:
    place = api.data_dir.with_name("not-mounted")
    (api.data_dir / "private").rename(place)
    return place


async def checks_after_a_start(api: Api, settings: Settings) -> dict:
    app = create_app(settings, api.queue, BoundedThreads(), probes=STEADY_PROBES)
    async with app.router.lifespan_context(app):
        readiness = await app.state.health.find_readiness()
    return {name: dataclasses.asdict(check) for name, check in readiness.checks.items()}


class TestSeals:
    @pytest.fixture
    def identities(self, tmp_path: Path) -> Identities:
        identities = Identities(FilesystemStorage(tmp_path / "keys"))
        identities.make_keys(lambda: False, lambda: False)
        return identities

    def test_what_was_sealed_comes_back(self, identities):
        sealed = identities.seal("me", b"secret")
        assert b"secret" not in sealed
        assert identities.unseal("me", sealed) == b"secret"
        assert identities.seal("me", b"secret") != sealed

    @pytest.mark.parametrize("damage", ["owner", "bit", "nonce", "magic", "cut", "key"])
    def test_anything_else_is_refused(self, identities, tmp_path, damage):
        sealed, owner = bytearray(identities.seal("me", b"secret")), "me"
        if damage == "owner":
            owner = "you"
        elif damage == "key":
            (tmp_path / "keys" / "private" / "sealing.key").write_text("ab" * 32)
            (tmp_path / "keys" / "key-ids" / "sealing.id").unlink()
        elif damage == "cut":
            sealed = sealed[:20]
        else:
            sealed[{"bit": -1, "nonce": 20, "magic": 0}[damage]] ^= 1
        with pytest.raises(SealUnreadableError):
            identities.unseal(owner, bytes(sealed))

    def test_a_file_that_is_no_key_is_told(self, identities, tmp_path):
        (tmp_path / "keys" / "private" / "sealing.key").write_text("no key")
        with pytest.raises(PrivateKeyInvalidError):
            identities.seal("me", b"")


def _without_deidentifying(api: Api):

    return dataclasses.replace(api.app.state.dependencies, deidentifies_series=False)
