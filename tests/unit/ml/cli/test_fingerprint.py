import json

import numpy as np
import pytest
from click.testing import CliRunner

from ml.cli.main import cli
from ml.data.dataset import LabelledCase, create_dataset, write_case
from tests.factories.volumes import make_body, make_geometry


@pytest.fixture
def folder(tmp_path):
    dataset = create_dataset(tmp_path / "d", "mine")
    volume = make_body(make_geometry((4, 96, 96)))
    labels = np.zeros(volume.hu.shape, np.uint8)
    labels[1:3, 40:50, 80:90] = 3
    case = LabelledCase(case_id="a", patient_id="p", volume=volume, labels=labels)
    write_case(dataset, case)
    return tmp_path / "d"


def run(*arguments):
    return CliRunner().invoke(cli, ["fingerprint", *map(str, arguments)])


class TestFingerprint:
    def test_writes_its_report_beside_the_cases(self, folder):
        result = run(folder)

        assert result.exit_code == 0
        assert result.stdout.startswith("1 cases, ")
        assert json.loads((folder / "fingerprint.json").read_text())["name"] == "mine"

    def test_the_crop_can_be_chosen(self, folder, tmp_path):
        for size, count in ((96, 0), (32, 200)):
            out = tmp_path / str(size)
            run(folder, "--crop-size-px", size, "--pixel-spacing-mm", 4, "--out", out)
            values = json.loads((out / "fingerprint.json").read_text())
            assert values["summary"]["voxels_outside_crop"]["Bladder"] == count

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [(("--crop-size-px", 33), "config"), (("--pixel-spacing-mm", 0), "usage")],
    )
    def test_impossible_crops_are_refused(self, folder, arguments, code):
        result = run(folder, *arguments)

        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: {code}: ")

    def test_a_dataset_without_cases_is_refused(self, tmp_path):
        create_dataset(tmp_path / "e", "empty")

        result = run(tmp_path / "e")

        assert (result.exit_code, result.stderr) == (2, "error: dataset_empty: empty has no case\n")
