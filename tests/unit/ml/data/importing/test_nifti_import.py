import json

import numpy as np
import pytest

from ml.data.importing.refusals import ImportRefusal, NoteCode
from ml.data.importing.run import Status
from ml.name_map import NameMap
from ml.pseudonyms import Pseudonyms
from ml.structures import CERVIX
from tests.factories.imports import (
    KEY,
    box_labels,
    box_masks,
    import_folder,
    nifti_affine,
    only_case,
    save_nifti,
)
from tests.factories.volumes import make_geometry

GRID = make_geometry((6, 24, 20), spacing_mm=(3.0, 2.0, 2.0), first_mm=(-20.0, -30.0, 5.0))
AFFINE = nifti_affine(GRID)
HU = np.random.default_rng(4).integers(-1000, 400, GRID.shape).astype(np.int16)
VALUES = NameMap(label_values={s.name: (s.number,) for s in CERVIX.structures})


def save(path, array, affine=AFFINE):
    """Write an array (slice, row, column) of the grid."""
    save_nifti(path, array.transpose(2, 1, 0), affine)


def assert_is_the_case(dataset):
    case = only_case(dataset)
    np.testing.assert_array_equal(case.volume.hu, HU)
    np.testing.assert_array_equal(case.labels, box_labels())
    np.testing.assert_allclose(
        case.volume.geometry.slice_positions_mm, GRID.slice_positions_mm, atol=1e-4
    )


class TestLayouts:
    @pytest.mark.parametrize(
        ("image", "labels"),
        [("image", "labels"), ("ct", "segmentation"), ("CT", "Label"), ("img", "seg")],
    )
    def test_image_and_label_map_in_a_folder(self, tmp_path, image, labels):
        save(tmp_path / "in" / "p1" / f"{image}.nii.gz", HU)
        save(tmp_path / "in" / "p1" / f"{labels}.nii", box_labels())

        dataset, (outcome,) = import_folder(tmp_path / "in", tmp_path / "out", names=VALUES)

        assert (outcome.name, outcome.notes) == ("p1", ())
        assert_is_the_case(dataset)

    def test_a_folder_of_masks_beside_the_image(self, tmp_path):
        save(tmp_path / "in" / "s1" / "ct.nii.gz", HU)
        masks = {**box_masks({"Bladder": "urinary_bladder"}), "colon": HU > 0}
        for name, mask in masks.items():
            save(tmp_path / "in/s1/segmentations" / f"{name}.nii.gz", mask.astype(np.uint8))

        dataset, (outcome,) = import_folder(tmp_path / "in", tmp_path / "out")

        assert_is_the_case(dataset)
        assert outcome.unmatched_names == ("colon",)

    def test_masks_in_the_folder_of_the_image(self, tmp_path):
        save(tmp_path / "in" / "s1" / "image.nii.gz", HU)
        for name, mask in box_masks().items():
            save(tmp_path / "in/s1" / f"{name}.nii.gz", mask.astype(np.uint8) * 255)

        dataset, _ = import_folder(tmp_path / "in", tmp_path / "out")

        assert_is_the_case(dataset)

    @pytest.mark.parametrize(
        "labels",
        [
            {"background": 0, "LN": 1, "CTVt": 2, "bladder": 3, "rectum": 4, "bowel": 5},
            {"0": "background", "1": "LN", "2": "CTVt", "3": "bladder", "4": "rectum"},
        ],
    )
    def test_nnunets_folders_with_its_label_names(self, tmp_path, labels):
        save(tmp_path / "in/Dataset7/imagesTr/pel_01_0000.nii.gz", HU)
        save(tmp_path / "in/Dataset7/labelsTr/pel_01.nii.gz", box_labels())
        (tmp_path / "in/Dataset7/dataset.json").write_text(json.dumps({"labels": labels}))

        pseudonyms = Pseudonyms(key=KEY, keeps_ids=True)
        dataset, (outcome,) = import_folder(
            tmp_path / "in", tmp_path / "out", pseudonyms=pseudonyms
        )

        assert_is_the_case(dataset)
        assert dataset.facts()[0].patient_id == "pel_01"
        assert outcome.notes == ()

    def test_further_channels_of_nnunet_are_noted(self, tmp_path):
        for channel in ("0000", "0001"):
            save(tmp_path / f"in/imagesTr/p_{channel}.nii.gz", HU)
        save(tmp_path / "in/labelsTr/p.nii.gz", box_labels())

        _, (outcome,) = import_folder(tmp_path / "in", tmp_path / "out", names=VALUES)

        assert [note.code for note in outcome.notes] == [NoteCode.FURTHER_CHANNELS_IGNORED]

    def test_labels_may_be_stored_the_other_way_round(self, tmp_path):
        save(tmp_path / "in/p1/image.nii.gz", HU)
        flipped = AFFINE.copy()
        flipped[:3, 2] *= -1
        flipped[:3, 3] = AFFINE[:3, 3] + 5 * AFFINE[:3, 2]
        save(tmp_path / "in/p1/labels.nii.gz", box_labels()[::-1], flipped)

        dataset, _ = import_folder(tmp_path / "in", tmp_path / "out", names=VALUES)

        assert_is_the_case(dataset)


class TestLabelValues:
    def test_several_values_make_one_structure(self, tmp_path):
        values = {s.name: (s.number,) for s in CERVIX.structures} | {"CTV-N": (1, 7)}
        labels = box_labels()
        labels[1, labels[1] == 1] = 7
        save(tmp_path / "in/p1/image.nii.gz", HU)
        save(tmp_path / "in/p1/labels.nii.gz", labels)

        dataset, _ = import_folder(
            tmp_path / "in", tmp_path / "out", names=NameMap(label_values=values)
        )

        assert_is_the_case(dataset)

    def test_other_values_are_noted(self, tmp_path):
        labels = box_labels()
        labels[0, 0, 0] = 9
        save(tmp_path / "in/p1/image.nii.gz", HU)
        save(tmp_path / "in/p1/labels.nii.gz", labels)

        _, (outcome,) = import_folder(tmp_path / "in", tmp_path / "out", names=VALUES)

        (note,) = outcome.notes
        assert (note.code, note.facts) == (
            NoteCode.LABEL_VALUES_IGNORED,
            {"label_values": [9]},
        )

    def test_nothing_is_guessed_where_nothing_names_the_values(self, tmp_path):
        save(tmp_path / "in/p1/image.nii.gz", HU)
        save(tmp_path / "in/p1/labels.nii.gz", box_labels())

        _, (outcome,) = import_folder(tmp_path / "in", tmp_path / "out")

        assert outcome.code == ImportRefusal.UNKNOWN_LABEL_VALUES


class TestRefusals:
    def outcome(self, tmp_path, **settings):
        """Import beside a good case; return what became of the bad one."""
        save(tmp_path / "in/good/image.nii.gz", HU + np.int16(1))
        save(tmp_path / "in/good/labels.nii.gz", box_labels())
        names = settings.pop("names", VALUES)
        dataset, outcomes = import_folder(tmp_path / "in", tmp_path / "out", names=names)
        by_name = {outcome.name: outcome for outcome in outcomes}
        assert by_name.pop("good").status is Status.IMPORTED
        assert len(dataset.facts()) == 1
        (bad,) = by_name.values()
        return bad

    def test_labels_on_another_grid(self, tmp_path):
        save(tmp_path / "in/bad/image.nii.gz", HU)
        shifted = AFFINE.copy()
        shifted[0, 3] += 2
        save(tmp_path / "in/bad/labels.nii.gz", box_labels(), shifted)

        bad = self.outcome(tmp_path)

        assert bad.code == ImportRefusal.GEOMETRY_MISMATCH
        assert bad.facts == {"file": "labels.nii.gz", "distance_mm": 2.0}

    def test_an_empty_structure(self, tmp_path):
        save(tmp_path / "in/bad/image.nii.gz", HU)
        save(tmp_path / "in/bad/labels.nii.gz", np.minimum(box_labels(), 3))

        bad = self.outcome(tmp_path)

        assert (bad.code, bad.facts) == (
            ImportRefusal.EMPTY_STRUCTURE,
            {"structures": ["Rectum"]},
        )

    @pytest.mark.parametrize(
        ("file", "code"),
        [
            ("image", ImportRefusal.MISSING_LABELS),
            ("labels", ImportRefusal.MISSING_CT),
            ("segmentations/bladder", ImportRefusal.MISSING_CT),
            ("something", ImportRefusal.MISSING_LABELS),
            ("imagesTr/p_0000", ImportRefusal.MISSING_LABELS),
            ("labelsTr/p", ImportRefusal.MISSING_CT),
        ],
    )
    def test_one_half_of_a_case(self, tmp_path, file, code):
        save(tmp_path / f"in/bad/{file}.nii.gz", box_labels())

        assert self.outcome(tmp_path).code == code

    def test_two_images_in_a_folder(self, tmp_path):
        for name in ("image", "ct", "labels"):
            save(tmp_path / f"in/bad/{name}.nii.gz", box_labels())

        assert self.outcome(tmp_path).code == ImportRefusal.AMBIGUOUS_CT

    @pytest.mark.parametrize("doubled", ["ct", "segmentations/Bladder"])
    def test_two_files_that_differ_in_their_ending_alone(self, tmp_path, doubled):
        save(tmp_path / "in/bad/ct.nii.gz", HU)
        for name, mask in box_masks().items():
            save(tmp_path / f"in/bad/segmentations/{name}.nii.gz", mask.astype(np.uint8))
        save(tmp_path / f"in/bad/{doubled}.nii", box_labels())

        assert self.outcome(tmp_path).code == ImportRefusal.AMBIGUOUS_CT

    def test_two_masks_of_one_structure(self, tmp_path):
        save(tmp_path / "in/bad/ct.nii.gz", HU)
        for name in (*box_masks(), "Blase"):
            save(tmp_path / f"in/bad/{name}.nii.gz", box_labels())

        assert self.outcome(tmp_path).code == ImportRefusal.AMBIGUOUS_STRUCTURE

    def test_a_mask_of_several_values(self, tmp_path):
        save(tmp_path / "in/bad/ct.nii.gz", HU)
        for name in box_masks():
            save(tmp_path / f"in/bad/{name}.nii.gz", box_labels())

        assert self.outcome(tmp_path).code == ImportRefusal.NIFTI_INVALID

    def test_a_label_list_that_nobody_understands(self, tmp_path):
        save(tmp_path / "in/bad/imagesTr/p_0000.nii.gz", HU)
        save(tmp_path / "in/bad/labelsTr/p.nii.gz", box_labels())
        (tmp_path / "in/bad/dataset.json").write_text('{"labels": {"whole": [1, 2]}}')

        assert self.outcome(tmp_path).code == ImportRefusal.UNKNOWN_LABEL_VALUES

    def test_an_image_without_air_is_noted(self, tmp_path):
        save(tmp_path / "in/p1/image.nii.gz", np.abs(HU))
        save(tmp_path / "in/p1/labels.nii.gz", box_labels())

        _, (outcome,) = import_folder(tmp_path / "in", tmp_path / "out", names=VALUES)

        assert [note.code for note in outcome.notes] == [NoteCode.UNUSUAL_HU]
