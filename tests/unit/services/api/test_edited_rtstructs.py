"""A corrected RTSTRUCT is checked at once, kept once, queued, shown and given back."""

import hashlib
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from services.core.queue import TaskName
from services.core.storage import StoredKind
from tests.factories.api import MEBIBYTE, Api, finish_job
from tests.factories.reviews import write_edit
from tests.factories.uploads import BOUNDARY, FORM, make_form, make_series, make_zip

pytestmark = pytest.mark.anyio
DICOM = "application/dicom"


async def finished_job(api: Api) -> str:
    response = await api.client.post(
        "/v1/autocontour",
        content=make_zip(make_series(3)),
        headers={"Content-Type": "application/zip"},
    )
    finish_job(api)
    return response.json()["job"]["id"]


@pytest.fixture
def rtstruct(tmp_path: Path) -> bytes:
    """An RTSTRUCT of the series that jobs here have."""
    folder = tmp_path / "ct"
    folder.mkdir()
    for name, content in make_series(3).items():
        (folder / name).write_bytes(content)
    mask = np.zeros((3, 16, 16), np.bool_)
    mask[:, 4:9, 4:9] = True
    write_edit(tmp_path / "edited.dcm", folder, {"Bladder": mask})
    return (tmp_path / "edited.dcm").read_bytes()


def changed(content: bytes, change: Callable[[pydicom.Dataset], None]) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(content))
    change(dataset)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


async def post(
    api: Api,
    job_id: str,
    content: bytes,
    *,
    kind: str = DICOM,
    query: dict[str, str] | None = None,
    key: str | None = None,
):
    return await api.client.post(
        f"/v1/contour-jobs/{job_id}/edited-rtstructs",
        params={"reviewer": "Dr. A"} | (query or {}),
        content=content,
        headers={"Content-Type": kind} | ({"Idempotency-Key": key} if key else {}),
    )


def edited_files(api: Api) -> list[str]:
    return [name for name in api.stored_files() if name.startswith("edited-rtstructs/")]


def compare(api: Api, edited_id: str, *, code: str | None = None) -> None:
    """End the comparison as a worker does."""
    scores = {"structures": {"Bladder": BLADDER}, "warnings": []}
    with api.unit_of_work() as uow:
        claim = uow.leases.claim(
            TaskName.EDITED_RTSTRUCT_COMPARE, UUID(edited_id), owner="w", seconds=60
        )
        assert claim is not None
        if code is None:
            assert uow.leases.succeed(claim, {"scores": scores})
        else:
            assert uow.leases.fail(claim, code=code, detail="it did", context={})
        uow.commit()


BLADDER = {
    "dice": 0.0,
    "hd95_mm": None,
    "assd_mm": None,
    "surface_dice_2mm": 0.0,
    "added_path_length_mm": 12.5,
    "total_path_length_mm": 40.0,
    "relative_added_path": 0.3125,
    "edited_slices": 3,
    "slices": 3,
    "found_ml": 0.0,
    "edited_ml": 1.0,
    "is_only_found": False,
    "is_only_edited": True,
}


class TestPosting:
    async def test_a_file_is_kept_and_its_comparison_queued(
        self, api: Api, rtstruct: bytes
    ) -> None:
        job_id = await finished_job(api)

        response = await post(api, job_id, rtstruct)

        edited = response.json()
        assert response.status_code == 202
        assert response.headers["Location"] == f"/v1/edited-rtstructs/{edited['id']}"
        assert (edited["state"], edited["queue_position"], edited["scores"]) == ("queued", 0, None)
        assert (edited["reviewer"], edited["byte_count"]) == ("Dr. A", len(rtstruct))
        assert edited["content_sha256"] == hashlib.sha256(rtstruct).hexdigest()
        message = api.queue.messages[-1]
        assert message.task is TaskName.EDITED_RTSTRUCT_COMPARE
        assert str(message.resource_id) == edited["id"]
        assert edited_files(api) == [f"edited-rtstructs/{edited['id']}/rtstruct.dcm"]
        assert not list((api.data_dir / "incoming").iterdir())

    async def test_a_form_with_one_file_is_the_same(self, api: Api, rtstruct: bytes) -> None:
        job_id = await finished_job(api)
        first = await post(api, job_id, rtstruct)

        again = await post(api, job_id, make_form({"rs.dcm": rtstruct}), kind=FORM)

        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        assert again.headers["Location"] == first.headers["Location"]
        assert len(edited_files(api)) == 1
        assert [m.task for m in api.queue.messages].count(TaskName.EDITED_RTSTRUCT_COMPARE) == 1

    async def test_one_whose_comparison_failed_is_compared_again(
        self, api: Api, rtstruct: bytes
    ) -> None:
        job_id = await finished_job(api)
        edited = (await post(api, job_id, rtstruct)).json()
        compare(api, edited["id"], code="time_limit")
        failed = (await api.client.get(edited["links"]["self"])).json()
        assert (failed["state"], failed["error"]["code"]) == ("failed", "time_limit")

        again = await post(api, job_id, rtstruct)

        assert (again.status_code, again.json()["state"]) == (202, "queued")
        assert again.json()["id"] == edited["id"]
        assert again.json()["error"] is None

    async def test_a_key_makes_one(self, api: Api, rtstruct: bytes) -> None:
        job_id = await finished_job(api)
        first = await post(api, job_id, rtstruct, key="k")
        again = await post(api, job_id, rtstruct, key="k")
        assert again.json()["id"] == first.json()["id"]
        other = changed(rtstruct, lambda ds: setattr(ds, "SeriesDescription", "later"))
        reused = await post(api, job_id, other, key="k")
        assert (reused.status_code, reused.json()["code"]) == (409, "idempotency_key_reused")
        assert len(edited_files(api)) == 1

    async def test_it_may_belong_to_a_review(self, api: Api, rtstruct: bytes) -> None:
        job_id = await finished_job(api)
        grade = {"structure": "Bladder", "slice_number": 1, "grade": "minor_revision"}
        review = await api.client.post(
            f"/v1/contour-jobs/{job_id}/reviews", json={"reviewer": "Dr. A", "grades": [grade]}
        )
        review_id = review.json()["id"]

        response = await post(api, job_id, rtstruct, query={"review_id": review_id})

        assert response.json()["links"]["review"] == f"/v1/reviews/{review_id}"
        other = await post(
            api, job_id, rtstruct, query={"review_id": review_id, "reviewer": "Dr. B"}
        )
        assert (other.status_code, other.json()["code"]) == (422, "wrong_review")
        unknown = await post(api, job_id, rtstruct, query={"review_id": str(uuid4())})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "review_not_found")


class TestRefusals:
    async def test_files_that_are_no_structure_set(self, api: Api, rtstruct: bytes) -> None:
        job_id = await finished_job(api)
        bad = {
            "text": b"hello",
            "ct": make_series(1)["IM0001"],
            "cut": rtstruct[:400],
            "zip": make_zip({"rs.dcm": rtstruct}),
            "bomb": deflated(rtstruct, 200 * MEBIBYTE),
        }
        for name, content in bad.items():
            response = await post(api, job_id, content)
            code = response.json()["code"]
            assert (response.status_code, code) == (422, "edited_rtstruct_invalid"), name

    async def test_files_that_lost_contours(self, api: Api, rtstruct: bytes) -> None:
        job_id = await finished_job(api)
        contours = rtstruct.index(b"\x06\x30\x39\x00")
        observations = rtstruct.index(b"\x06\x30\x80\x00", contours)
        last_image = rtstruct.rindex(b"\x06\x30\x16\x00", contours, observations)
        last_contour = rtstruct.rindex(b"\xfe\xff\x00\xe0", contours, last_image)
        for length in (contours, last_contour, observations - 1):
            response = await post(api, job_id, rtstruct[:length])
            code = response.json()["code"]
            assert (response.status_code, code) == (422, "edited_rtstruct_invalid"), length
        assert edited_files(api) == []
        assert not edited_files(api)
        assert not list((api.data_dir / "incoming").iterdir())

    async def test_a_deflated_file_is_read(self, api: Api, rtstruct: bytes) -> None:
        response = await post(api, await finished_job(api), deflated(rtstruct, 0))
        assert response.status_code == 202, response.text

    async def test_another_frame_of_reference(self, api: Api, rtstruct: bytes) -> None:
        def move(dataset: pydicom.Dataset) -> None:
            dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "2.25.9"
            dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "2.25.9"

        response = await post(api, await finished_job(api), changed(rtstruct, move))
        problem = response.json()
        assert (response.status_code, problem["code"]) == (422, "wrong_frame_of_reference")
        assert problem["context"]["found"] == ["2.25.9"]
        assert not edited_files(api)

    async def test_another_series(self, api: Api, rtstruct: bytes) -> None:
        def move(dataset: pydicom.Dataset) -> None:
            frame = dataset.ReferencedFrameOfReferenceSequence[0]
            series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
            series.SeriesInstanceUID = "2.25.9"

        response = await post(api, await finished_job(api), changed(rtstruct, move))
        assert (response.status_code, response.json()["code"]) == (422, "wrong_series")

    async def test_one_that_names_no_series_lies_in_the_frame(
        self, api: Api, rtstruct: bytes
    ) -> None:
        def forget(dataset: pydicom.Dataset) -> None:
            del dataset.ReferencedFrameOfReferenceSequence

        response = await post(api, await finished_job(api), changed(rtstruct, forget))
        assert response.status_code == 202

    @pytest.mark.parametrize(
        ("kind", "body", "status", "code"),
        [
            (DICOM, b"", 422, "empty_upload"),
            (DICOM, bytes(MEBIBYTE + 1), 413, "too_many_bytes"),
            (DICOM, bytes(2 * MEBIBYTE), 413, "too_many_bytes"),
            ("application/zip", b"x", 415, "unsupported_media_type"),
            (FORM, make_form({"a": b"x", "b": b"y"}), 413, "too_many_files"),
            (FORM, make_form({"a": b"x"})[:-9], 400, "malformed_multipart"),
            (FORM, f"--{BOUNDARY}--\r\n".encode(), 422, "empty_upload"),
        ],
    )
    async def test_bad_bodies(
        self, api: Api, kind: str, body: bytes, status: int, code: str
    ) -> None:
        response = await post(api, await finished_job(api), body, kind=kind)
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert not edited_files(api)
        assert not list((api.data_dir / "incoming").iterdir())

    @pytest.mark.parametrize("reviewer", ["", " ", "x" * 81, "a\x00b"])
    async def test_a_reader_needs_a_name(self, api: Api, rtstruct: bytes, reviewer: str) -> None:
        job_id = await finished_job(api)
        response = await post(api, job_id, rtstruct, query={"reviewer": reviewer})
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")

    async def test_a_job_without_result(self, api: Api, rtstruct: bytes) -> None:
        unknown = await post(api, str(uuid4()), rtstruct)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "contour_job_not_found")
        job_id = await finished_job(api)
        job = (await api.client.get(f"/v1/contour-jobs/{job_id}")).json()
        await api.client.delete(job["links"]["series"])
        purged = await post(api, job_id, rtstruct)
        assert (purged.status_code, purged.json()["code"]) == (410, "result_purged")


class TestReading:
    async def test_scores_are_shown_and_the_file_comes_back(
        self, api: Api, rtstruct: bytes
    ) -> None:
        job_id = await finished_job(api)
        posted = (await post(api, job_id, rtstruct)).json()
        compare(api, posted["id"])

        edited = (await api.client.get(posted["links"]["self"])).json()

        assert (edited["state"], edited["scores"]["Bladder"]) == ("succeeded", BLADDER)
        file = await api.client.get(edited["links"]["rtstruct"])
        assert (file.status_code, file.content) == (200, rtstruct)
        assert file.headers["Content-Type"] == DICOM
        etag = {"If-None-Match": file.headers["ETag"]}
        same = await api.client.get(edited["links"]["rtstruct"], headers=etag)
        assert (same.status_code, same.content) == (304, b"")

    async def test_lists_are_of_a_job_or_a_state(self, api: Api, rtstruct: bytes) -> None:
        first_job, second_job = await finished_job(api), await finished_job(api)
        first = (await post(api, first_job, rtstruct)).json()["id"]
        second = (await post(api, second_job, rtstruct)).json()["id"]
        compare(api, first)

        async def ids(path: str, **query: str) -> list[str]:
            page = (await api.client.get(path, params=query)).json()
            return [item["id"] for item in page["items"]]

        assert await ids("/v1/edited-rtstructs") == [second, first]
        assert await ids("/v1/edited-rtstructs", state="succeeded") == [first]
        assert await ids(f"/v1/contour-jobs/{second_job}/edited-rtstructs") == [second]
        page = (await api.client.get("/v1/edited-rtstructs", params={"limit": 1})).json()
        assert await ids("/v1/edited-rtstructs", cursor=page["next_cursor"]) == [first]

    async def test_unknown_ids(self, api: Api) -> None:
        for path in ("", "/rtstruct"):
            response = await api.client.get(f"/v1/edited-rtstructs/{uuid4()}{path}")
            problem = response.json()
            assert (response.status_code, problem["code"]) == (404, "edited_rtstruct_not_found")
        listed = await api.client.get(f"/v1/contour-jobs/{uuid4()}/edited-rtstructs")
        assert (listed.status_code, listed.json()["code"]) == (404, "contour_job_not_found")

    async def test_a_lost_file_is_the_services_fault(self, api: Api, rtstruct: bytes) -> None:
        edited = (await post(api, await finished_job(api), rtstruct)).json()
        api.app.state.dependencies.storage.delete(StoredKind.EDITED_RTSTRUCTS, UUID(edited["id"]))
        response = await api.client.get(edited["links"]["rtstruct"])
        assert (response.status_code, response.json()["code"]) == (500, "stored_files_missing")


class TestDeletingTheSeries:
    async def test_one_that_is_being_compared_keeps_the_series(
        self, api: Api, rtstruct: bytes
    ) -> None:
        job_id = await finished_job(api)
        edited = (await post(api, job_id, rtstruct)).json()
        job = (await api.client.get(f"/v1/contour-jobs/{job_id}")).json()

        response = await api.client.delete(job["links"]["series"])

        assert (response.status_code, response.json()["code"]) == (409, "series_in_use")
        assert response.json()["context"]["edited_rtstruct_id"] == edited["id"]
        assert len(edited_files(api)) == 1

    async def test_edits_go_with_it_and_their_scores_stay(self, api: Api, rtstruct: bytes) -> None:
        job_id = await finished_job(api)
        edited = (await post(api, job_id, rtstruct)).json()
        compare(api, edited["id"])
        job = (await api.client.get(f"/v1/contour-jobs/{job_id}")).json()

        assert (await api.client.delete(job["links"]["series"])).status_code == 200

        assert not api.stored_files()
        shown = (await api.client.get(edited["links"]["self"])).json()
        assert shown["purged_at"] is not None
        assert shown["links"]["rtstruct"] is None
        assert shown["scores"]["Bladder"] == BLADDER
        file = await api.client.get(edited["links"]["rtstruct"])
        assert (file.status_code, file.json()["code"]) == (410, "edited_rtstruct_purged")


def deflated(content: bytes, padding: int) -> bytes:
    """The file with its data set deflated, behind so many zeros of a private element."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    whole = buffer.getvalue()
    if not padding:
        return whole
    start = 144 + int.from_bytes(whole[140:144], "little")  # behind the group length's group
    body = zlib.decompress(whole[start:], -zlib.MAX_WBITS)
    element = b"\x09\x00\x01\x10OB\x00\x00" + padding.to_bytes(4, "little") + bytes(padding)
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return whole[:start] + squeezer.compress(body + element) + squeezer.flush()
