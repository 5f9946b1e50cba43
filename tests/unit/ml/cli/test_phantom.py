from click.testing import CliRunner
from pydicom import dcmread, uid

from ml.cli.main import cli


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

    def test_a_filled_folder_is_refused(self, tmp_path):
        run("write", "--seed", 3, "--out", tmp_path, "--tier", "tiny")

        result = run("write", "--seed", 4, "--out", tmp_path, "--tier", "tiny")

        assert result.exit_code == 2
        assert result.stderr.startswith("error: folder_not_empty: ")

    def test_unknown_tiers_are_refused_by_the_known_ones(self, tmp_path):
        result = run("write", "--seed", 3, "--out", tmp_path, "--tier", "huge")

        assert result.exit_code == 2
        assert "'tiny', 'small', 'full'" in result.stderr
