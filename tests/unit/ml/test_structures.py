from dataclasses import FrozenInstanceError, replace

import pytest

from ml.structures import (
    CERVIX,
    InterpretedType,
    StructureSet,
    UnknownStructureError,
    structure_set,
)


class TestCervix:
    def test_numbers_follow_the_papers_label_maps(self):
        assert CERVIX.names == ("CTV-N", "CTV-UV", "Bladder", "Rectum")
        assert [structure.number for structure in CERVIX.structures] == [1, 2, 3, 4]
        assert CERVIX.class_count == 5

    def test_targets_and_organs_are_told_apart(self):
        kinds = [structure.interpreted_type for structure in CERVIX.structures]
        assert kinds == [InterpretedType.CTV] * 2 + [InterpretedType.ORGAN] * 2

    def test_priorities_and_colours_decide(self):
        assert len({s.priority for s in CERVIX.structures}) == 4
        assert len({s.color_rgb for s in CERVIX.structures}) == 4
        for structure in CERVIX.structures:
            assert all(0 <= value <= 255 for value in structure.color_rgb)
            smallest, largest = structure.plausible_volume_ml
            assert 0 < structure.min_component_ml <= smallest < largest
            assert structure.max_components >= 1

    def test_names_can_be_written(self):
        for name in CERVIX.names:
            assert name.isascii()
            assert len(name) <= 16


class TestFind:
    @pytest.mark.parametrize(
        ("written", "name"),
        [
            ("Bladder", "Bladder"),
            ("BLADDER", "Bladder"),
            ("urinary_bladder", "Bladder"),
            ("Harnblase", "Bladder"),
            ("ctv n", "CTV-N"),
            ("CTVn", "CTV-N"),
            ("ctv_uv", "CTV-UV"),
            ("\uff23\uff34\uff36-\uff2e", "CTV-N"),  # full-width letters
            ("Rectum (contoured)", "Rectum"),
        ],
    )
    def test_ignores_case_and_punctuation(self, written, name):
        assert CERVIX.get(written).name == name
        assert CERVIX.find(written) is CERVIX.get(written)

    @pytest.mark.parametrize("written", ["", "Sigmoid", "Bladder wall", "CTV"])
    def test_does_not_guess(self, written):
        assert CERVIX.find(written) is None
        with pytest.raises(UnknownStructureError) as caught:
            CERVIX.get(written)
        assert caught.value.name == written


class TestStructureSet:
    def test_numbers_must_count_from_one(self):
        with pytest.raises(ValueError, match="count from 1"):
            StructureSet(name="x", structures=CERVIX.structures[1:])

    def test_names_must_differ_in_more_than_case(self):
        first, second, *_ = CERVIX.structures
        twin = replace(second, name="ctv_n", synonyms=())
        with pytest.raises(ValueError, match="share a name"):
            StructureSet(name="x", structures=(first, twin))

    def test_cannot_be_changed(self):
        with pytest.raises(FrozenInstanceError):
            setattr(CERVIX, "name", "other")  # noqa: B010  # an assignment pyright would refuse


class TestStructureSetByName:
    def test_finds_the_set_of_a_run(self):
        assert structure_set("cervix") is CERVIX

    def test_does_not_guess(self):
        with pytest.raises(UnknownStructureError):
            structure_set("prostate")
