import numpy as np
import pytest

from ml.data.importing.labels import merge_masks
from ml.data.importing.refusals import CaseRefusedError, ImportRefusal, NoteCode
from ml.structures import CERVIX
from tests.factories.imports import box_labels, box_masks, import_settings


def masks(**changes):
    found = {CERVIX.get(name): mask for name, mask in box_masks().items()}
    for name, change in changes.items():
        change(found[CERVIX.get(name)])
    return found


def refusal(some, **settings):
    with pytest.raises(CaseRefusedError) as caught:
        merge_masks(some, 1.0, import_settings(**settings))
    return caught.value


def fill(part):
    return lambda mask: mask.__setitem__(part, True)


class TestMergeMasks:
    def test_disjoint_masks_become_labels_without_a_note(self):
        labels, notes = merge_masks(masks(), 1.0, import_settings())
        np.testing.assert_array_equal(labels, box_labels())
        assert notes == []

    def test_priority_decides_a_small_overlap_and_its_volume_is_noted(self):
        touching = masks(ctvn=fill(np.s_[2, 12, 3:9]))  # 6 of the CTV-N's 108 + 6 voxels
        labels, (note,) = merge_masks(touching, 0.5, import_settings(overlap_limit=0.06))
        np.testing.assert_array_equal(labels, box_labels())
        assert note.code is NoteCode.OVERLAP_RESOLVED
        assert note.facts == {
            "overlaps": [
                {
                    "structures": ["CTV-N", "Bladder"],
                    "overlap_ml": 3.0,
                    "share_of_smaller": 0.0526,
                    "kept_by": "Bladder",
                }
            ]
        }

    def test_a_large_overlap_is_refused_unless_any_is_accepted(self):
        touching = masks(ctvn=fill(np.s_[2, 12, 3:9]))
        error = refusal(touching)
        assert error.code is ImportRefusal.OVERLAPPING_STRUCTURES
        assert error.facts["limit"] == 0.05
        assert error.facts["overlaps"][0]["structures"] == ["CTV-N", "Bladder"]
        labels, _ = merge_masks(touching, 1.0, import_settings(overlap_limit=None))
        np.testing.assert_array_equal(labels, box_labels())

    @pytest.mark.parametrize(
        ("one", "other", "winner"),
        [
            ("Bladder", "Rectum", "Bladder"),
            ("Rectum", "CTV-UV", "Rectum"),
            ("CTV-UV", "CTV-N", "CTV-UV"),
            ("CTV-N", "Bladder", "Bladder"),
        ],
    )
    def test_every_pair_follows_the_priorities(self, one, other, winner):
        overlapping = masks()
        overlapping[CERVIX.get(one)][5, 0, 0] = overlapping[CERVIX.get(other)][5, 0, 0] = True
        labels, _ = merge_masks(overlapping, 1.0, import_settings())
        assert labels[5, 0, 0] == CERVIX.get(winner).number

    def test_an_empty_structure_is_refused_or_noted(self):
        empty = masks(rectum=lambda mask: mask.fill(False))
        assert refusal(empty).facts == {"structures": ["Rectum"]}
        assert refusal(empty).code is ImportRefusal.EMPTY_STRUCTURE
        labels, (note,) = merge_masks(empty, 1.0, import_settings(allows_missing=True))
        assert not (labels == 4).any()
        assert (note.code, note.facts) == (
            NoteCode.STRUCTURES_MISSING,
            {"structures": ["Rectum"]},
        )

    def test_a_case_of_nothing_is_always_refused(self):
        nothing = {structure: np.zeros((2, 2, 2), np.bool_) for structure in CERVIX.structures}
        assert refusal(nothing, allows_missing=True).code is ImportRefusal.EMPTY_STRUCTURE

    def test_a_structure_swallowed_by_another_is_refused(self):
        swallowed = masks()
        swallowed[CERVIX.get("CTV-N")] = swallowed[CERVIX.get("Bladder")].copy()
        error = refusal(swallowed, overlap_limit=None)
        assert (error.code, error.facts) == (
            ImportRefusal.EMPTY_STRUCTURE,
            {"structures": ["CTV-N"]},
        )

    def test_skipped_slices_are_noted(self):
        skipped = masks(ctvuv=lambda mask: mask.__setitem__(np.s_[2:4], False))
        _, (note,) = merge_masks(skipped, 1.0, import_settings())
        assert (note.code, note.facts) == (
            NoteCode.SLICES_WITHOUT_CONTOUR,
            {"slices": {"CTV-UV": 2}},
        )
