import numpy as np
import pytest
from click.testing import CliRunner

from ml.cli.main import cli
from ml.data.dataset import LabelledCase, create_dataset, open_dataset, write_case
from ml.geometry import Volume
from tests.factories.volumes import make_geometry


@pytest.fixture
def folder(tmp_path):
    dataset = create_dataset(tmp_path / "data", "mine")
    geometry = make_geometry((2, 3, 4))
    for number in range(8):
        case = LabelledCase(
            case_id=f"case-{number}",
            patient_id=f"patient-{number // 2}",
            volume=Volume(hu=np.zeros(geometry.shape, np.int16), geometry=geometry),
            labels=np.zeros(geometry.shape, np.uint8),
        )
        write_case(dataset, case)
    return tmp_path / "data"


def run(*arguments):
    return CliRunner().invoke(cli, ["split", *map(str, arguments)])


class TestSplit:
    def test_stores_the_split_and_says_its_sizes(self, folder):
        result = run(folder, "--seed", 3, "--proportions", "2:1:1")

        split = open_dataset(folder).split
        assert split is not None
        assert (split.seed, len(split.training), len(split.test)) == (3, 2, 1)
        lines = [line.split() for line in result.stdout.splitlines()]
        assert lines == [
            ["training", "2", "patients", "4", "cases"],
            ["validation", "1", "patients", "2", "cases"],
            ["test", "1", "patients", "2", "cases"],
        ]

    def test_a_split_is_not_replaced_unless_asked(self, folder):
        run(folder, "--seed", 3)

        again = run(folder, "--seed", 4)

        assert again.exit_code == 2
        assert again.stderr == "error: split_exists: mine is split already, with seed 3\n"
        assert run(folder, "--seed", 4, "--replace").exit_code == 0
        split = open_dataset(folder).split
        assert split is not None
        assert split.seed == 4

    @pytest.mark.parametrize("value", ["111:30", "a:b:c", "0:1:1", "1:2:-1"])
    def test_odd_proportions_are_refused(self, folder, value):
        result = run(folder, "--proportions", value)

        assert result.exit_code == 2
        assert "is not like 111:30:15" in result.stderr

    def test_a_folder_without_a_dataset_is_refused(self, tmp_path):
        result = run(tmp_path)

        assert result.exit_code == 2
        assert result.stderr.startswith("error: dataset: ")
