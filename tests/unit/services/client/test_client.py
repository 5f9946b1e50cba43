"""The client does the main job against the real API: a CT in, an RTSTRUCT out."""

import json
from pathlib import Path

import httpx
import pytest

from services.client.client import CerviContourClient
from services.client.errors import ProblemError
from services.core.settings import Settings
from tests.factories.access import bearer
from tests.factories.api import MEBIBYTE, finish_job
from tests.factories.servers import Service
from tests.factories.uploads import make_series, make_zip

pytestmark = pytest.mark.enable_socket


def test_a_folder_becomes_an_rtstruct(
    client: CerviContourClient, service: Service, ct_folder: Path, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    submission = client.submit(ct_folder, lambda sent, total: told.append((sent, total)))
    finish_job(service)

    job = client.wait_for_job(submission.job.id)
    path = client.download_rtstruct(job.id, tmp_path / "rs.dcm")

    assert submission.series.slice_count == 3
    assert [file.name for file in submission.series.skipped_files] == ["notes.txt"]
    assert (job.state, job.volumes_ml, job.error) == ("succeeded", {"Bladder": 1.5}, None)
    assert path.read_bytes() == b"RTSTRUCT"
    assert told[-1][0] == told[-1][1]


def test_a_zip_becomes_the_same_series(
    client: CerviContourClient, ct_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "ct.zip").write_bytes(make_zip(make_series(3)))

    from_zip = client.submit(tmp_path / "ct.zip")

    assert client.submit(sorted(ct_folder.iterdir())).series.id == from_zip.series.id


def test_models_keep_all_that_the_service_says(
    client: CerviContourClient, service: Service, ct_folder: Path
) -> None:
    job_id = client.submit(ct_folder).job.id
    finish_job(service)

    address = f"{service.url}/v1/contour-jobs/{job_id}"
    said = httpx.get(address, headers=bearer(service.key), trust_env=False).json()

    assert json.loads(client.job(job_id).model_dump_json()) == said


def test_an_upload_that_is_refused_says_why_and_leaves_nothing(
    client: CerviContourClient, service: Service, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no CT")

    with pytest.raises(ProblemError) as caught:
        client.submit(tmp_path / "notes.txt")

    assert caught.value.status == 422
    assert caught.value.context["file_names"] == ["notes.txt"]
    assert len(caught.value.correlation_id) == 32
    assert service.is_empty()


class TestLimits:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        small = ("max_upload_bytes", "max_unpacked_bytes", "max_file_bytes")
        return Settings(data_dir=tmp_path / "data", **dict.fromkeys(small, MEBIBYTE))

    def test_a_refusal_in_the_midst_of_an_upload_is_heard(
        self, client: CerviContourClient, delays: list[float], tmp_path: Path
    ) -> None:
        with (tmp_path / "ct.zip").open("wb") as file:
            file.truncate(64 * MEBIBYTE)

        with pytest.raises(ProblemError) as caught:
            client.submit(tmp_path / "ct.zip")

        assert (caught.value.code, delays) == ("too_many_bytes", [])


def test_jobs_are_listed_over_pages_and_cancelled(
    client: CerviContourClient, ct_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [client.submit(ct_folder).job.id for _ in range(3)]
    monkeypatch.setattr("services.client.transport.PAGE_SIZE", 2)

    assert client.cancel_job(made[0]).state == "cancelled"
    assert [job.id for job in client.jobs()] == made[::-1]
    assert [job.id for job in client.jobs(state="cancelled")] == made[:1]


def test_a_result_that_is_not_there_yet_is_refused_and_writes_nothing(
    client: CerviContourClient, ct_folder: Path, tmp_path: Path
) -> None:
    job_id = client.submit(ct_folder).job.id

    with pytest.raises(ProblemError) as caught:
        client.download_rtstruct(job_id, tmp_path / "rs.dcm")

    assert caught.value.code == "job_not_finished"
    assert not (tmp_path / "rs.dcm").exists()


def test_health_names_what_is_missing(client: CerviContourClient) -> None:
    health = client.health()

    assert not health.is_ready
    assert (health.checks["database"].ok, health.checks["weights"].ok) == (True, False)
