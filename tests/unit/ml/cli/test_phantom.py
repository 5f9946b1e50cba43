import json

from click.testing import CliRunner
from pydicom import dcmread, uid

from ml.cli.main import cli
from ml.data.dataset import open_dataset
from ml.data.phantom_dataset import COHORT_SEEDS_FROM


def run(*arguments):
    return CliRunner().invoke(cli, ["phantom", *map(str, arguments)])


class TestWrite:
    def test_writes_a_series_as_asked(self, tmp_path):
        out = tmp_path / "case"
        arguments = ("--tier", "tiny", "--position", "FFS", "--transfer-syntax", "rle")

        result = run("write", "--seed", 3, "--out", out, *arguments)

        assert result.stdout == f"{out}\n"
        images = sorted((out / "ct").iterdir())
        assert len(images) == 16
        image = dcmread(images[0])
        assert (image.PatientPosition, str(image.PatientName)) == ("FFS", "PHANTOM^3")
        assert image.file_meta.TransferSyntaxUID == uid.RLELossless

    def test_a_variant_writes_another_series_of_the_same_patient_number(self, tmp_path):
        for name in ("standard", "metal-hip"):
            run("write", "--seed", 3, "--out", tmp_path / name, "--tier", "tiny", "--variant", name)

        headers = [
            dcmread(next((tmp_path / name / "ct").iterdir())) for name in ("standard", "metal-hip")
        ]
        assert headers[0].SeriesInstanceUID != headers[1].SeriesInstanceUID
        assert headers[0].PatientID == headers[1].PatientID
        record = json.loads((tmp_path / "metal-hip" / "phantom.json").read_text())
        assert record["variant"] == "metal-hip"
        assert record["anatomy"]["replaced_hips"]

    def test_a_filled_folder_is_refused(self, tmp_path):
        run("write", "--seed", 3, "--out", tmp_path, "--tier", "tiny")

        result = run("write", "--seed", 4, "--out", tmp_path, "--tier", "tiny")

        assert result.exit_code == 2
        assert result.stderr.startswith("error: folder_not_empty: ")

    def test_unknown_tiers_are_refused_by_the_known_ones(self, tmp_path):
        result = run("write", "--seed", 3, "--out", tmp_path, "--tier", "huge")

        assert result.exit_code == 2
        assert "'tiny', 'small', 'full'" in result.stderr


class TestCohort:
    def test_writes_a_dataset_of_the_paper_s_cohort(self, tmp_path):
        result = run("cohort", "--out", tmp_path / "d", "--count", 1, "--tier", "tiny")

        assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'd'}\n")
        (facts,) = open_dataset(tmp_path / "d").facts()
        assert facts.source["seed"] == COHORT_SEEDS_FROM

    def test_as_dicom_is_what_import_reads(self, tmp_path):
        out = tmp_path / "dicom"
        run("cohort", "--out", out, "--count", 4, "--tier", "tiny", "--dicom")

        result = CliRunner().invoke(cli, ["import", str(out), "--out", str(tmp_path / "d")])

        assert result.stdout.startswith("4 imported, 0 already imported, 0 replaced, 0 refused")
        names = {
            tuple(facts.source["region_names"].values())
            for facts in open_dataset(tmp_path / "d").facts()
        }
        assert len(names) == 4

    def test_as_dicom_keeps_what_is_whole_and_redoes_the_rest(self, tmp_path):
        arguments = ("cohort", "--out", tmp_path, "--count", 2, "--tier", "tiny", "--dicom")
        run(*arguments)
        whole, cut_off = sorted(tmp_path.iterdir())
        (cut_off / "phantom.json").unlink()
        (whole / "labels.npz").unlink()

        run(*arguments)

        assert (cut_off / "phantom.json").exists()
        assert not (whole / "labels.npz").exists()
