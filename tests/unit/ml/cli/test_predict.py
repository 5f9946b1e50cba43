import pydicom
import pytest

from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.phantom.files import write_phantom
from tests.unit.ml.cli.conftest import call


@pytest.fixture(scope="module")
def ct_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict") / "phantom"
    write_phantom(generate_phantom(PhantomSpec(seed=3, tier=PhantomTier.TINY)), folder)
    return folder / "ct"


class TestPredict:
    def test_a_series_becomes_an_unapproved_rtstruct(self, ct_folder, tmp_path):
        out = tmp_path / "rs.dcm"

        result = call("predict", ct_folder, "--out", out)

        assert result.exit_code == 0, result.output
        written = pydicom.dcmread(out)
        assert written.ApprovalStatus == "UNAPPROVED"
        assert [item.ROIName for item in written.StructureSetROISequence]
        assert "Bladder" in result.output

    def test_a_file_that_is_there_is_left_alone(self, ct_folder, tmp_path):
        out = tmp_path / "rs.dcm"
        out.write_text("mine")

        result = call("predict", ct_folder, "--out", out)

        assert result.exit_code == 2
        assert out.read_text() == "mine"

    def test_a_folder_without_a_series_is_refused_by_its_code(self, tmp_path):
        (tmp_path / "empty").mkdir()

        result = call("predict", tmp_path / "empty", "--out", tmp_path / "rs.dcm")

        assert result.exit_code == 2
        assert result.output.startswith("error: ")
        assert not (tmp_path / "rs.dcm").exists()
