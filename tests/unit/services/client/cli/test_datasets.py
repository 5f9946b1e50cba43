"""The commands of datasets, against the real API."""

import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import Result

from services.client.client import CerviContourClient
from services.core.lifecycle import CasePart, CaseStatus
from services.core.queue import TaskName
from services.core.tables.datasets import DatasetCase
from tests.factories.datasets import end_version
from tests.factories.imports import write_dicom_case
from tests.factories.servers import Service

pytestmark = pytest.mark.enable_socket
Run = Callable[..., Result]
NAME = "Cervix 2026"


@pytest.fixture
def dataset_id(run: Run) -> str:
    return json.loads(run("dataset", "create", NAME, "--folder", "clinic", "--json").stdout)["id"]


def index(run: Run, *options: str) -> UUID:
    return UUID(json.loads(run("dataset", "index", NAME, *options, "--json").stdout)["id"])


def add_cases(service: Service, version_id: UUID) -> None:
    refusal = {"code": "structures_missing", "message": "there is no Bladder"}
    kept = {"case_id": "case-1", "patient": "patient-1", "part": CasePart.TRAINING}
    rows = [
        DatasetCase(name="p1/rs.dcm", status=CaseStatus.IMPORTED, **kept),
        DatasetCase(name="p2/rs.dcm", status=CaseStatus.REFUSED, **refusal),
    ]
    with service.unit_of_work() as uow:
        claim = uow.leases.claim(
            TaskName.DATASET_VERSION_INDEX, version_id, owner="worker", seconds=60
        )
        assert claim is not None
        for position, row in enumerate(rows):
            row.version_id, row.position = version_id, position
            row.facts, row.notes, row.unmatched_names = {}, [], []
            uow._session.add(row)
        assert uow.leases.succeed(claim, {"case_count": 1, "refused_count": 1})
        uow.commit()


def test_a_dataset_is_made_shown_and_listed_by_its_name(run: Run, dataset_id: str) -> None:
    shown = run("dataset", "show", NAME).stdout.splitlines()

    assert shown[:2] == [f"{dataset_id}  {NAME}", "sources: 1 folder"]
    assert run("dataset", "show", dataset_id).stdout.splitlines() == shown
    assert f"{dataset_id}  {NAME}" in run("dataset", "list").stdout


def test_a_taken_name_is_refused(run: Run, dataset_id: str) -> None:
    result = run("dataset", "create", NAME)

    assert (result.exit_code, result.stderr.split(": ")[1]) == (1, "dataset_exists")


def test_a_name_that_nobody_gave_is_told(run: Run) -> None:
    result = run("dataset", "show", "Nobody")

    assert (result.exit_code, result.stderr) == (
        1,
        "error: dataset_not_found: there is no dataset 'Nobody'\n",
    )


def test_cases_are_uploaded_from_a_folder(run: Run, dataset_id: str, tmp_path: Path) -> None:
    write_dicom_case(tmp_path / "cases" / "p1", number=1)

    result = run("dataset", "upload", NAME, tmp_path / "cases")
    again = run("dataset", "upload", dataset_id, tmp_path / "cases", "--json")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 CT series with ")
    assert "1 structure sets" in result.stdout
    assert json.loads(again.stdout)["source"]["kind"] == "upload"
    assert "sources: 1 folder, 1 upload" in run("dataset", "show", NAME).stdout


def test_an_upload_without_cases_is_refused(run: Run, dataset_id: str, ct_folder: Path) -> None:
    result = run("dataset", "upload", NAME, ct_folder)

    assert result.exit_code == 1
    assert result.stderr.startswith("error: no_case_in_upload: ")


def test_folders_are_added_once(run: Run, dataset_id: str) -> None:
    assert run("dataset", "add-folder", NAME, "clinic").stdout == "0 new sources\n"
    assert run("dataset", "add-edited", NAME).stdout == "0 new sources\n"


def test_a_mapping_is_set_from_toml(run: Run, dataset_id: str, tmp_path: Path) -> None:
    (tmp_path / "names.toml").write_text('ignore = ["PTV"]\n[structures]\n"Bladder" = ["Blase"]\n')

    result = run("dataset", "mapping", NAME, tmp_path / "names.toml")

    assert result.exit_code == 0, result.output
    mapping = json.loads(run("dataset", "show", NAME, "--json").stdout)["mapping"]
    assert (mapping["ignore"], mapping["structures"]) == (["PTV"], {"Bladder": ["Blase"]})


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        ("weather = 1", "error: mapping_invalid: ", 1),
        ("ignore = [", "Usage: ", 2),
        ("ignore = 2026-01-01", "Usage: ", 2),
    ],
)
def test_a_bad_mapping_is_refused(
    run: Run, dataset_id: str, tmp_path: Path, text: str, code: str, status: int
) -> None:
    (tmp_path / "names.toml").write_text(text)

    result = run("dataset", "mapping", NAME, tmp_path / "names.toml")

    assert (result.exit_code, result.stderr.startswith(code)) == (status, True)


def test_what_is_not_said_is_left_to_the_service(run: Run, dataset_id: str) -> None:
    asked = json.loads(run("dataset", "index", NAME, "--json").stdout)["request"]

    assert asked["split"] == {"seed": 0, "proportions": [111, 30, 15], "keep_previous": True}
    assert (asked["allow_missing"], asked["overlap_limit"]) == (False, 0.05)


def test_every_option_of_an_index_arrives(run: Run, dataset_id: str, tmp_path: Path) -> None:
    (tmp_path / "names.toml").write_text('ignore = ["GTV"]')
    options = "--seed 7 --proportions 3:1:0 --deal-anew --allow-missing --allow-overlap"
    more = ["--allow-orphans", "--overlap-limit", "0", "--mapping", tmp_path / "names.toml"]

    result = run("dataset", "index", NAME, *options.split(), *more, "--json")

    asked = json.loads(result.stdout)["request"]
    assert asked["split"] == {"seed": 7, "proportions": [3, 1, 0], "keep_previous": False}
    assert asked["mapping"]["ignore"] == ["GTV"]
    values = [asked[f"allow_{name}"] for name in ("missing", "overlap", "orphans")]
    assert (values, asked["overlap_limit"]) == ([True, True, True], 0.0)


@pytest.mark.parametrize("proportions", ["3:1", "a:b:c", "-1:1:1"])
def test_proportions_are_three_whole_numbers(run: Run, proportions: str) -> None:
    assert run("dataset", "index", NAME, f"--proportions={proportions}").exit_code == 2


def test_versions_are_followed_by_name_and_number(
    run: Run, dataset_id: str, service: Service
) -> None:
    first = index(run)
    end_version(service.unit_of_work(), first)
    second = index(run)

    watched = run("dataset", "watch", f"{NAME}:1")
    cases = run("dataset", "cases", NAME, "--json")  # of the first: the second has not succeeded
    unknown = run("dataset", "watch", f"{NAME}:3")

    assert watched.stdout == f"{first}  version 1 succeeded, 1 cases, 0 refused\n"
    assert (cases.exit_code, json.loads(cases.stdout)) == (0, [])
    assert unknown.stderr.startswith("error: dataset_version_not_found: ")
    assert str(second) in run("dataset", "show", NAME).stdout


def test_cases_are_listed_with_the_reason_of_their_refusal(
    run: Run, dataset_id: str, service: Service
) -> None:
    add_cases(service, index(run))

    everything = run("dataset", "cases", NAME).stdout.splitlines()
    refused = run("dataset", "cases", f"{NAME}:1", "--status", "refused").stdout.splitlines()

    assert everything[1].split() == ["case-1", "p1/rs.dcm", "imported", "training", "-"]
    assert len(refused) == 2
    assert refused[1].split(maxsplit=4) == [
        "-", "p2/rs.dcm", "refused", "-", "structures_missing: there is no Bladder",
    ]  # fmt: skip


def test_a_cancelled_version_is_a_failure_for_who_waits(
    run: Run, dataset_id: str, client: CerviContourClient
) -> None:
    version_id = index(run)
    client.datasets.cancel_version(version_id)

    result = run("dataset", "watch", version_id)

    assert result.exit_code == 1
    assert result.stderr.startswith("error: work_cancelled: ")
