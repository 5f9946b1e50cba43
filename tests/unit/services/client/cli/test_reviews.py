"""The commands of reviews, against the real API."""

import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from click.testing import Result

from services.client.client import CerviContourClient
from services.core.queue import TaskName
from tests.factories.api import finish_job
from tests.factories.reviews import add_finished_job, write_edit
from tests.factories.servers import Service

pytestmark = pytest.mark.enable_socket
Run = Callable[..., Result]

TABLE = """structure,first_slice,last_slice,slice_number,grade,tags
Bladder,1,2,,acceptable,
Bladder,,,3,minor_revision,boundary_too_small;artefact
"""
GRADES = [
    {"structure": "Bladder", "first_slice": 1, "last_slice": 2, "grade": "acceptable"},
    {
        "structure": "Bladder",
        "slice_number": 3,
        "grade": "minor_revision",
        "tags": ["boundary_too_small", "artefact"],
    },
]


@pytest.fixture
def job(service: Service) -> str:
    """A job that succeeded, on three slices."""
    return str(add_finished_job(service.unit_of_work()).id)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("grades.csv", TABLE),
        ("excel.csv", "\ufeff" + TABLE.replace("\n", "\r\n")),
        ("grades.json", json.dumps(GRADES)),
        ("review.json", json.dumps({"grades": GRADES})),
    ],
)
def test_grades_come_from_a_table_or_json(
    run: Run, job: str, tmp_path: Path, client: CerviContourClient, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    options = ["--grades", tmp_path / name, "--minutes", "2.5", "--comment", "fine"]

    result = run("review", "submit", job, "--reviewer", "Dr. A", *options)

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].endswith("3 slices graded")
    (review,) = client.reviews.of_job(job)
    given = review.model_dump()
    assert (review.reviewer, given["minutes"], given["comment"]) == ("Dr. A", 2.5, "fine")
    assert review.counts["Bladder"] == {
        "acceptable": 2, "minor_revision": 1, "major_revision": 0, "unacceptable": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("grades.csv", "structure,mark\nBladder,5\n"),
        ("grades.csv", "structure,slice_number,grade\nBladder,first,acceptable\n"),
        ("grades.csv", "structure,slice_number,grade\n"),
        ("grades.json", "{}"),
        ("grades.json", "[NaN]"),
        ("grades.json", "{"),
    ],
)
def test_a_file_without_grades_is_wrong_usage(
    run: Run, job: str, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)

    result = run("review", "submit", job, "--reviewer", "A", "--grades", tmp_path / name)

    assert result.exit_code == 2


def test_a_slice_that_is_not_there_is_refused(run: Run, job: str, tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("structure,slice_number,grade\nBladder,4,acceptable\n")

    result = run("review", "submit", job, "--reviewer", "A", "--grades", tmp_path / "g.csv")

    assert result.exit_code == 1
    assert result.stderr.startswith("error: slice_out_of_range: ")


def test_acceptability_is_a_table_by_group(run: Run, job: str, tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text(TABLE)
    for reader in ("Dr. A", "Dr. B"):
        run("review", "submit", job, "--reviewer", reader, "--grades", tmp_path / "g.csv")

    plain = run("review", "acceptability").stdout.splitlines()
    grouped = run(
        "review", "acceptability", "--group-by", "reviewer", "--group-by", "model_version"
    ).stdout.splitlines()
    narrowed = run("review", "acceptability", "--reviewer", "Dr. B", "--json")

    assert plain[1].split() == ["Bladder", "66.7", "33.3", "0.0", "0.0", "100.0", "6"]
    assert [line.split("  ")[0] for line in grouped] == ["reviewer", "Dr. A", "Dr. B"]
    assert json.loads(narrowed.stdout)["groups"][0]["graded_slices"] == 3


def test_drift_is_a_table_by_weights(run: Run, job: str) -> None:
    result = run("review", "drift", "--by", "model_version")

    assert result.stdout.splitlines()[1].split() == ["v1", "1", "0.000", "-"]


def test_an_edited_rtstruct_is_sent_and_its_comparison_awaited(
    run: Run, service: Service, ct_folder: Path, tmp_path: Path
) -> None:
    run("submit", ct_folder)
    finish_job(service)
    job_id = service.queue.resource_ids[0]
    (ct_folder / "notes.txt").unlink()
    mask = np.zeros((3, 16, 16), np.bool_)
    mask[:, 4:9, 4:9] = True
    write_edit(tmp_path / "edited.dcm", ct_folder, {"Bladder": mask})
    arguments = ("review", "upload-edit", job_id, tmp_path / "edited.dcm", "--reviewer", "Dr. A")

    sent = run(*arguments)
    compare(service)
    again = run(*arguments, "--wait")

    assert sent.exit_code == 0, sent.output
    edited_id = service.queue.resource_ids[-1]
    assert sent.stdout == f"{edited_id}  queued\n"
    assert again.stdout.splitlines()[0] == f"{edited_id}  succeeded"
    assert again.stdout.splitlines()[2].split() == ["Bladder", "0.900", "0.125", "2"]


def compare(service: Service) -> None:
    """Do to the edited RTSTRUCT what a worker does."""
    edited_id: UUID = service.queue.resource_ids[-1]
    bladder = {
        "dice": 0.9,
        "hd95_mm": 1.0,
        "assd_mm": 0.5,
        "surface_dice_2mm": 1.0,
        "added_path_length_mm": 5.0,
        "total_path_length_mm": 40.0,
        "relative_added_path": 0.125,
        "edited_slices": 2,
        "slices": 3,
        "found_ml": 1.0,
        "edited_ml": 1.0,
        "is_only_found": False,
        "is_only_edited": False,
    }
    with service.unit_of_work() as uow:
        task = TaskName.EDITED_RTSTRUCT_COMPARE
        claim = uow.leases.claim(task, edited_id, owner="worker", seconds=60)
        assert claim is not None
        outcome = {"scores": {"structures": {"Bladder": bladder}, "warnings": []}}
        assert uow.leases.succeed(claim, outcome)
        uow.commit()
