import json

import pytest
from click.testing import CliRunner

from ml.cli.main import cli
from ml.data.dataset import open_dataset
from tests.factories.imports import box_masks, write_dicom_case


def run(*arguments):
    return CliRunner().invoke(cli, ["import", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    write_dicom_case(tmp_path / "in" / "p1", number=1)
    write_dicom_case(tmp_path / "in" / "p2", number=2, masks=box_masks({"Rectum": "Enddarm"}))
    return tmp_path / "in"


class TestImport:
    def test_says_what_was_imported_and_what_was_refused(self, folder, tmp_path):
        result = run(folder, "--out", tmp_path / "d")

        report = tmp_path / "d.import" / "import-report.md"
        assert result.exit_code == 0
        assert (
            result.stdout
            == f"1 imported, 0 already imported, 0 replaced, 1 refused; report: {report}\n"
        )
        assert result.stderr == (
            "refused: p2/rs.2.dcm: structure_missing: no region is called Rectum\n"
        )
        assert len(open_dataset(tmp_path / "d").facts()) == 1

    def test_report_and_key_stay_out_of_the_dataset(self, folder, tmp_path):
        run(folder, "--out", tmp_path / "d")

        private = {path.name for path in (tmp_path / "d.import").iterdir()}
        assert private == {"import-report.json", "import-report.md", "pseudonym.key"}
        assert {path.name for path in (tmp_path / "d").iterdir()} == {"dataset.json", "cases"}

    def test_a_second_run_says_that_all_is_there(self, folder, tmp_path):
        run(folder, "--out", tmp_path / "d")

        result = run(folder, "--out", tmp_path / "d")

        assert result.stdout.startswith("0 imported, 1 already imported, 0 replaced, 1 refused")

    def test_a_mapping_file_makes_the_rest_importable(self, folder, tmp_path):
        (tmp_path / "names.toml").write_text('[structures]\n"Rectum" = ["Enddarm", "Rectum"]\n')

        result = run(folder, "--out", tmp_path / "d", "--mapping", tmp_path / "names.toml")

        assert result.stdout.startswith("2 imported")

    def test_cases_of_another_folder_stay_and_are_named(self, folder, tmp_path):
        run(folder / "p1", "--out", tmp_path / "d")

        run(folder / "p2", "--out", tmp_path / "d", "--allow-missing")

        report = json.loads((tmp_path / "d.import" / "import-report.json").read_text())
        assert len(report["other_cases_of_the_dataset"]) == 1
        assert len(open_dataset(tmp_path / "d").facts()) == 2


class TestRefusals:
    def test_a_folder_of_which_nothing_is_usable(self, folder, tmp_path):
        result = run(folder / "p2", "--out", tmp_path / "d")

        assert result.exit_code == 2
        assert "error: nothing_imported: every case was refused" in result.stderr
        assert (tmp_path / "d.import" / "import-report.json").exists()

    def test_a_folder_without_cases(self, tmp_path):
        (tmp_path / "in").mkdir()

        result = run(tmp_path / "in", "--out", tmp_path / "d")

        assert (result.exit_code, result.stderr[:20]) == (2, "error: nothing_found")
        assert not (tmp_path / "d").exists()

    def test_a_bad_mapping_file(self, folder, tmp_path):
        (tmp_path / "names.toml").write_text("[liver]")

        result = run(folder, "--out", tmp_path / "d", "--mapping", tmp_path / "names.toml")

        assert result.exit_code == 2
        assert result.stderr.startswith("error: mapping: names.toml: there are settings")

    def test_a_private_folder_in_the_dataset(self, folder, tmp_path):
        result = run(folder, "--out", tmp_path / "d", "--private", tmp_path / "d" / "report")

        assert (result.exit_code, result.stderr[:21]) == (2, "error: private_folder")

    def test_a_key_file_without_a_key(self, folder, tmp_path):
        (tmp_path / "d.import").mkdir()
        (tmp_path / "d.import" / "pseudonym.key").write_text("none")

        result = run(folder, "--out", tmp_path / "d")

        assert (result.exit_code, result.stderr[:20]) == (2, "error: pseudonym_key")
