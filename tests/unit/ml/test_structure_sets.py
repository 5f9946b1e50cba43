import pytest

from ml.structures import CERVIX, UnknownStructureError, structure_set


class TestStructureSet:
    def test_a_run_names_its_set(self):
        assert structure_set("cervix") is CERVIX

    def test_an_unknown_set_is_refused(self):
        with pytest.raises(UnknownStructureError) as caught:
            structure_set("prostate")
        assert caught.value.name == "prostate"
