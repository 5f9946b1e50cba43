"""From cases to a contour and back to cases, on PostgreSQL and Redis with real workers."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.core.queue import QueueName
from tests.factories.service_client import (
    TINY,
    ask,
    contour,
    index_cohort,
    runs_of,
    start_experiment,
    wait_for,
    write_clinic,
    zip_of_a_ct,
)
from tests.integration.deployment import Deployment, Mode

pytestmark = pytest.mark.parametrize("mode", [Mode.SERVERS], indirect=True, scope="session")

REAL_APP = "services.worker.app"
WEIGHTS = {"network.width": 0.125}
STRUCTURES = ("Bladder", "Rectum", "CTV-N", "CTV-UV")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clinic(tmp_path_factory.mktemp("clinic"))


@pytest.fixture
def client(deployment: Deployment, clinic: Path) -> Iterator[httpx.Client]:
    variables = {
        "CERVICONTOUR_DATASETS_DIR": str(clinic),
        "CERVICONTOUR_THREAD_COUNT": "1",
    }
    for queue in QueueName:
        deployment.start_worker(f"loop-{queue}", queue, REAL_APP, **variables)
    with deployment.serve(**variables) as client:
        yield client
    while deployment.workers:
        deployment.workers.pop().kill()


def test_corrected_contours_of_a_promoted_run_are_cases_again(
    client: httpx.Client, clinic: Path
) -> None:
    version = index_cohort(client, "loop")
    experiment = start_experiment(
        client, version, kind="training", settings=TINY, budget={"max_epochs": 1}
    )
    done = wait_for(client, experiment["links"]["self"], "finished")
    assert done["runs"] == {"succeeded": 1}
    report = ask(client, "GET", experiment["links"]["reports"])["items"][0]
    wait_for(client, report["links"]["self"], "succeeded")
    scores = client.get(experiment["links"]["scores_csv"]).text
    assert len(scores.splitlines()) == 1 + len(STRUCTURES)

    body = {"run_id": runs_of(client, experiment)[0]["id"], "margin": 1.0}
    promoted = ask(client, "POST", "/v1/model-versions", json=body)
    model = wait_for(client, f"/v1/model-versions/{promoted['id']}", "succeeded")
    shadow = {"model_version_id": model["id"], "replaces": None}
    ask(client, "PUT", "/v1/model-aliases/shadow", json=shadow)
    job = contour(client, zip_of_a_ct(clinic))
    shadows = f"/v1/model-versions/{model['id']}/shadow-contours"
    contours = ask(client, "GET", shadows)["items"]
    assert [shown["job_id"] for shown in contours] == [job["id"]]

    path = f"/v1/contour-jobs/{job['id']}"
    for reader, grade in (("Dr A", "acceptable"), ("Dr B", "minor_revision")):
        grades = [
            {"first_slice": 1, "last_slice": 8, "structure": name, "grade": grade}
            for name in STRUCTURES
        ]
        ask(client, "POST", f"{path}/reviews", json={"reviewer": reader, "grades": grades})
    table = ask(client, "GET", "/v1/reports/acceptability?group_by=model_version&group_by=month")
    assert sum(group["reviews"] for group in table["groups"]) == 2  # the month may end meanwhile
    ask(client, "GET", "/v1/reports/drift?by=model_version")
    truth = min((clinic / "cohort").iterdir()) / "rtstruct.dcm"
    edited = ask(
        client,
        "POST",
        f"{path}/edited-rtstructs?reviewer=Dr%20A",
        content=truth.read_bytes(),
        headers={"Content-Type": "application/dicom"},
    )
    compared = wait_for(client, f"/v1/edited-rtstructs/{edited['id']}", "succeeded")
    assert set(compared["scores"]) == set(STRUCTURES)

    dataset = ask(client, "POST", "/v1/datasets", json={"name": "the loop closes"})
    sources = f"/v1/datasets/{dataset['id']}/edited-rtstructs"
    ask(client, "POST", sources, json={"edited_rtstruct_ids": [edited["id"]]})
    made = ask(client, "POST", f"/v1/datasets/{dataset['id']}/versions", json={})
    closed = wait_for(client, f"/v1/dataset-versions/{made['id']}", "succeeded")
    assert closed["case_count"] == 1
    summary = ask(client, "GET", f"/v1/model-versions/{model['id']}/shadow-summary")
    assert summary["count"] == 1
