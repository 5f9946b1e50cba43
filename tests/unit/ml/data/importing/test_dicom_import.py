import copy
import json
import shutil
from collections import Counter

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sequence import Sequence

from ml.data.importing import dicom_pairs
from ml.data.importing.candidates import hash_files
from ml.data.importing.refusals import ImportRefusal, NoteCode
from ml.data.importing.run import Status
from ml.dicom.errors import DicomErrorCode
from ml.name_map import NameMap
from ml.pseudonyms import Pseudonyms
from tests.factories.ct import CtSpec
from tests.factories.ct_defects import DEFECTS
from tests.factories.imports import (
    CT_SPEC,
    KEY,
    box_labels,
    box_masks,
    edit_file,
    import_folder,
    only_case,
    write_dicom_case,
)

GOOD = "good"
SECRETS = ("MRN", "Secret", "2.25.77", "19600229", "20260102")


@pytest.fixture
def folder(tmp_path):
    """A folder with one good case beside which a test puts a bad one."""
    write_dicom_case(tmp_path / "in" / GOOD, number=99)
    return tmp_path / "in"


def outcome_of_bad_case(folder, tmp_path, **settings):
    """Import; the good case must be there, the bad one must have left nothing."""
    dataset, outcomes = import_folder(folder, tmp_path / "out", **settings)
    by_name = {outcome.name.split("/")[0]: outcome for outcome in outcomes}
    assert by_name.pop(GOOD).status is Status.IMPORTED
    (bad,) = by_name.values()
    assert bad.status is Status.REFUSED
    assert [path.name for path in (tmp_path / "out" / "cases").iterdir()] == [
        facts.case_id for facts in dataset.facts()
    ]
    assert len(dataset.facts()) == 1
    return bad


def edit_contours(change):
    def edit(ds):
        for roi in ds.ROIContourSequence:
            for item in roi.ContourSequence:
                change(item)

    return edit


def lifted(by_mm, axis=2):
    def change(item):
        values = [float(value) for value in item.ContourData]
        values[axis::3] = [round(value + by_mm, 3) for value in values[axis::3]]
        item.ContourData = values

    return change


def dangle(item):
    item.ContourImageSequence[0].ReferencedSOPInstanceUID = "2.25.4"


def unreferenced(item):
    del item.ContourImageSequence


def other_frame(ds):
    for region in ds.StructureSetROISequence:
        region.ReferencedFrameOfReferenceUID = "2.25.5"


def no_frame(ds):
    for region in ds.StructureSetROISequence:
        region.ReferencedFrameOfReferenceUID = ""


def no_frame_beside_another(ds):
    no_frame(ds)
    second = copy.deepcopy(ds.ReferencedFrameOfReferenceSequence[0])
    second.FrameOfReferenceUID = "2.25.5"
    ds.ReferencedFrameOfReferenceSequence.append(second)


def no_frame_in_a_set_of_another(ds):
    no_frame(ds)
    ds.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "2.25.5"


def no_frame_at_all(ds):
    no_frame(ds)
    del ds.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID


def refer_elsewhere(ds):
    """Refer to a series that is not there, in a frame of reference that is not there."""
    other_frame(ds)
    frame = ds.ReferencedFrameOfReferenceSequence[0]
    frame.FrameOfReferenceUID = "2.25.5"
    frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID = "2.25.6"


def without_contours(ds):
    ds.ROIContourSequence[2].ContourSequence = Sequence([])


def add_twin(by_mm, change=lambda item: None):
    """Give the first contour a twin of its own plane, beside it."""

    def edit(ds):
        contours = ds.ROIContourSequence[0].ContourSequence
        island = copy.deepcopy(contours[0])
        lifted(by_mm)(island)
        change(island)
        contours.append(island)

    return edit


REFUSED = {
    "several planes of one image": (add_twin(0.3), ImportRefusal.CONTOURS_OTHER_PLANES),
    "orphans": (edit_contours(dangle), ImportRefusal.ORPHAN_REFERENCE),
    "regions in another frame": (other_frame, ImportRefusal.WRONG_FRAME_OF_REFERENCE),
    "set in another frame": (refer_elsewhere, ImportRefusal.WRONG_FRAME_OF_REFERENCE),
    "regions in either of two frames": (
        no_frame_beside_another,
        ImportRefusal.WRONG_FRAME_OF_REFERENCE,
    ),
    "regions in no frame, set in another": (
        no_frame_in_a_set_of_another,
        ImportRefusal.WRONG_FRAME_OF_REFERENCE,
    ),
    "beyond the ends": (
        edit_contours(lambda item: (unreferenced(item), lifted(9)(item))),
        ImportRefusal.LABELS_OUTSIDE_IMAGE,
    ),
    "beyond the edges": (edit_contours(lifted(20, axis=0)), ImportRefusal.LABELS_OUTSIDE_IMAGE),
    "without contours": (without_contours, ImportRefusal.EMPTY_STRUCTURE),
    "not in plane": (
        edit_contours(lambda item: setattr(item, "ContourData", [0, 0, 0, 9, 9, 9, 0, 9, 4])),
        DicomErrorCode.RTSTRUCT_INVALID,
    ),
    "points of two numbers": (
        edit_contours(lambda item: setattr(item, "ContourData", [1, 2, 3, 4])),
        DicomErrorCode.RTSTRUCT_INVALID,
    ),
    "regions of one number": (
        lambda ds: setattr(ds.StructureSetROISequence[0], "ROINumber", 2),
        DicomErrorCode.RTSTRUCT_INVALID,
    ),
}


class TestGoodCases:
    def test_labels_lie_on_the_voxels_that_were_outlined(self, folder, tmp_path):
        dataset, (outcome,) = import_folder(folder, tmp_path / "out")

        case = only_case(dataset)

        np.testing.assert_array_equal(case.labels, box_labels())
        np.testing.assert_array_equal(case.volume.hu, CT_SPEC.hu + 99)
        np.testing.assert_allclose(
            case.volume.geometry.slice_positions_mm, CT_SPEC.positions_mm, atol=1e-3
        )
        assert outcome.notes == ()

    @pytest.mark.parametrize("position", ["FFS", "HFP", "FFDR"])
    def test_patients_may_lie_in_any_way(self, tmp_path, position):
        spec = CtSpec(slices=6, patient_position=position)
        write_dicom_case(tmp_path / "in", spec=spec)

        dataset, _ = import_folder(tmp_path / "in", tmp_path / "out")

        labels = only_case(dataset).labels
        np.testing.assert_array_equal(labels, box_labels())

    def test_names_of_other_systems_are_understood(self, tmp_path):
        names = {"Bladder": "HARNBLASE", "CTV-N": "ctv_ln", "Rectum": "Rectum contoured"}
        masks = {**box_masks(names), "External": box_labels() >= 0}
        write_dicom_case(tmp_path / "in", masks=masks)

        dataset, (outcome,) = import_folder(tmp_path / "in", tmp_path / "out")

        case = only_case(dataset)
        np.testing.assert_array_equal(case.labels, box_labels())
        assert case.source["region_names"]["Bladder"] == "HARNBLASE"
        assert outcome.unmatched_names == ("External",)

    def test_all_files_may_lie_in_one_folder(self, tmp_path):
        for number in (1, 2):
            write_dicom_case(tmp_path / "in" / str(number), number=number)
        flat = tmp_path / "flat"
        flat.mkdir()
        files = sorted(p for p in (tmp_path / "in").rglob("*") if p.is_file())
        for number, path in enumerate(files):
            shutil.move(path, flat / f"IM{number:04d}")

        dataset, outcomes = import_folder(flat, tmp_path / "out")

        assert [outcome.status for outcome in outcomes] == [Status.IMPORTED] * 2
        assert len({facts.patient_id for facts in dataset.facts()}) == 2

    def test_copies_of_the_same_files_count_once(self, folder, tmp_path):
        shutil.copytree(folder / GOOD, folder / "copy")

        _, outcomes = import_folder(folder, tmp_path / "out")

        assert [outcome.status for outcome in outcomes] == [Status.IMPORTED]

    def test_many_files_of_one_instance_are_read_once_each(self, folder, tmp_path, monkeypatch):
        dataset = dcmread(next((folder / GOOD / "ct").iterdir()))
        for number in range(6):
            dataset.SeriesDescription = str(number)
            dataset.save_as(folder / f"other{number}.dcm")
        hashed = Counter()

        def hash_counted(files):
            hashed.update(file.path for file in files)
            return hash_files(files)

        monkeypatch.setattr(dicom_pairs, "hash_files", hash_counted)

        _, outcomes = import_folder(folder, tmp_path / "out")

        assert {outcome.status for outcome in outcomes} == {Status.REFUSED}
        assert set(hashed.values()) == {1}
        assert len(hashed) == 7

    def test_contours_without_references_are_placed_by_plane(self, tmp_path):
        write_dicom_case(tmp_path / "in", edit=edit_contours(unreferenced))

        dataset, _ = import_folder(tmp_path / "in", tmp_path / "out")

        np.testing.assert_array_equal(only_case(dataset).labels, box_labels())

    @pytest.mark.parametrize("edit", [no_frame, no_frame_at_all])
    def test_regions_without_a_frame_lie_in_the_only_one(self, tmp_path, edit):
        write_dicom_case(tmp_path / "in", edit=edit)

        dataset, _ = import_folder(tmp_path / "in", tmp_path / "out")

        np.testing.assert_array_equal(only_case(dataset).labels, box_labels())

    def test_dangling_references_are_placed_by_plane_where_that_is_allowed(self, tmp_path):
        write_dicom_case(tmp_path / "in", edit=edit_contours(dangle))

        dataset, (outcome,) = import_folder(tmp_path / "in", tmp_path / "out", allows_orphans=True)

        np.testing.assert_array_equal(only_case(dataset).labels, box_labels())
        assert [note.code for note in outcome.notes] == [NoteCode.ORPHAN_REFERENCES_PLACED]

    def test_contours_that_enclose_nothing_are_told(self, tmp_path):
        def add_point(ds):
            point = copy.deepcopy(ds.ROIContourSequence[0].ContourSequence[0])
            point.ContourGeometricType, point.NumberOfContourPoints = "POINT", 1
            point.ContourData = list(point.ContourData)[:3]
            ds.ROIContourSequence[0].ContourSequence.append(point)

        write_dicom_case(tmp_path / "in", edit=add_point)

        dataset, (outcome,) = import_folder(tmp_path / "in", tmp_path / "out")

        np.testing.assert_array_equal(only_case(dataset).labels, box_labels())
        (note,) = outcome.notes
        assert note.code is NoteCode.CONTOURS_WITHOUT_AREA
        assert list(note.facts["contours"].values()) == [1]

    def test_contours_between_slices_are_told(self, tmp_path):
        write_dicom_case(tmp_path / "in", edit=add_twin(0.3, unreferenced))

        dataset, (outcome,) = import_folder(tmp_path / "in", tmp_path / "out")

        np.testing.assert_array_equal(only_case(dataset).labels, box_labels())
        (note,) = outcome.notes
        assert note.code is NoteCode.CONTOURS_BETWEEN_SLICES
        assert list(note.facts["contours"].values()) == [1]

    def test_an_empty_placeholder_gives_way_to_the_drawn_region_of_the_same_name(self, tmp_path):
        masks = {**box_masks(), "Blase": np.zeros((6, 24, 20), np.bool_)}
        write_dicom_case(tmp_path / "in", masks=masks)

        dataset, (outcome,) = import_folder(tmp_path / "in", tmp_path / "out")

        np.testing.assert_array_equal(only_case(dataset).labels, box_labels())
        (note,) = outcome.notes
        assert note.code is NoteCode.EMPTY_REGION_IGNORED
        assert note.facts == {"structure": "Bladder", "names": ["Blase", "Bladder"]}

    def test_another_series_of_the_patient_does_not_disturb(self, folder, tmp_path):
        write_dicom_case(folder / "other", number=2).unlink()

        assert outcome_of_bad_case(folder, tmp_path).code == ImportRefusal.MISSING_LABELS


class TestRefusals:
    @pytest.mark.parametrize("name", REFUSED)
    def test_structure_sets_that_do_not_fit(self, folder, tmp_path, name):
        edit, code = REFUSED[name]
        write_dicom_case(folder / "bad", edit=edit)

        assert outcome_of_bad_case(folder, tmp_path).code == code

    @pytest.mark.parametrize(
        "name", ["tilted", "a slice missing", "uneven", "oblique", "mixed sizes", "slope zero"]
    )
    def test_series_that_are_no_volume(self, folder, tmp_path, name):
        path = write_dicom_case(folder / "bad")
        shutil.rmtree(folder / "bad" / "ct")
        DEFECTS[name].make(folder / "bad" / "ct")
        for file in (folder / "bad" / "ct").iterdir():
            edit_file(
                file,
                lambda ds: (
                    setattr(ds, "SeriesInstanceUID", "2.25.77.1.1"),
                    setattr(ds, "FrameOfReferenceUID", "2.25.77.1.9"),
                ),
            )
        assert path.exists()

        assert outcome_of_bad_case(folder, tmp_path).code == DEFECTS[name].code

    def test_a_damaged_slice_beside_a_series(self, folder, tmp_path):
        write_dicom_case(folder / "bad")
        last = max((folder / "bad" / "ct").iterdir())
        last.write_bytes(last.read_bytes()[:200])

        bad = outcome_of_bad_case(folder, tmp_path)

        assert (bad.code, bad.facts) == (
            DicomErrorCode.NOT_DICOM,
            {"files": [f"bad/ct/{last.name}"]},
        )

    def test_a_structure_set_without_its_ct(self, folder, tmp_path):
        write_dicom_case(folder / "bad")
        shutil.rmtree(folder / "bad" / "ct")

        assert outcome_of_bad_case(folder, tmp_path).code == ImportRefusal.MISSING_CT

    def test_a_structure_set_that_cannot_be_read(self, folder, tmp_path):
        path = write_dicom_case(folder / "bad")
        ds = dcmread(path)
        ds.StructureSetROISequence[0].ROINumber = None
        ds.save_as(path)
        shutil.rmtree(folder / "bad" / "ct")

        assert outcome_of_bad_case(folder, tmp_path).code == DicomErrorCode.RTSTRUCT_INVALID

    def test_a_structure_that_is_missing(self, folder, tmp_path):
        masks = box_masks({"Rectum": "Enddarm"})
        write_dicom_case(folder / "bad", masks=masks)

        bad = outcome_of_bad_case(folder, tmp_path)

        assert bad.code == ImportRefusal.STRUCTURE_MISSING
        assert bad.facts == {
            "missing": ["Rectum"],
            "names": ["CTV-N", "CTV-UV", "Bladder", "Enddarm"],
        }

    def test_a_missing_structure_can_be_allowed(self, tmp_path):
        write_dicom_case(tmp_path / "in", masks=box_masks({"Rectum": "Enddarm"}))

        dataset, (outcome,) = import_folder(tmp_path / "in", tmp_path / "out", allows_missing=True)

        labels = only_case(dataset).labels
        np.testing.assert_array_equal(labels, np.where(box_labels() == 4, 0, box_labels()))
        assert [note.code for note in outcome.notes] == [NoteCode.STRUCTURES_MISSING]

    def test_names_that_match_twice_unless_the_mapping_decides(self, folder, tmp_path):
        masks = {**box_masks(), "Blase": box_masks()["Rectum"]}
        write_dicom_case(folder / "bad", masks=masks)

        bad = outcome_of_bad_case(folder, tmp_path)

        assert bad.code == ImportRefusal.AMBIGUOUS_STRUCTURE
        assert bad.facts == {"structure": "Bladder", "names": ["Bladder", "Blase"]}
        decided = NameMap(names={"Bladder": ("Bladder", "Blase")})
        _, outcomes = import_folder(folder, tmp_path / "decided", names=decided)
        assert {outcome.status for outcome in outcomes} == {Status.IMPORTED}

    def test_overlapping_structures(self, folder, tmp_path):
        masks = box_masks()
        masks["CTV-N"] = masks["CTV-N"] | masks["Bladder"]
        write_dicom_case(folder / "bad", masks=masks)

        bad = outcome_of_bad_case(folder, tmp_path)

        assert bad.code == ImportRefusal.OVERLAPPING_STRUCTURES
        assert bad.facts["overlaps"][0]["overlap_ml"] == pytest.approx(3 * 8 * 6 * 0.012)

    def test_two_structure_sets_of_one_ct(self, tmp_path):
        path = write_dicom_case(tmp_path / "in")
        second = path.with_name("rs.2.dcm")
        shutil.copy(path, second)
        edit_file(second, lambda ds: setattr(ds, "SOPInstanceUID", "2.25.8"))

        _, outcomes = import_folder(tmp_path / "in", tmp_path / "out")

        assert [outcome.code for outcome in outcomes] == [ImportRefusal.SEVERAL_STRUCTURE_SETS] * 2
        assert outcomes[0].facts == {"files": ["rs.1.dcm", "rs.2.dcm"]}

    def test_two_cts_that_fit_equally_well(self, folder, tmp_path):
        def dangling(ds):
            frame = ds.ReferencedFrameOfReferenceSequence[0]
            study = frame.RTReferencedStudySequence[0]
            study.RTReferencedSeriesSequence[0].SeriesInstanceUID = "2.25.6"

        write_dicom_case(folder / "bad", edit=dangling)
        shutil.copytree(folder / "bad" / "ct", folder / "bad" / "ct2")
        for number, file in enumerate((folder / "bad" / "ct2").iterdir()):
            edit_file(
                file,
                lambda ds, n=number: (
                    setattr(ds, "SeriesInstanceUID", "2.25.77.1.2"),
                    setattr(ds, "SOPInstanceUID", f"2.25.77.1.2.{n + 1}"),
                ),
            )

        _, outcomes = import_folder(folder, tmp_path / "out")

        codes = sorted(outcome.code or "" for outcome in outcomes)
        missing = ImportRefusal.MISSING_LABELS
        assert codes == ["", ImportRefusal.AMBIGUOUS_CT, missing, missing]

    def test_the_same_case_under_other_uids(self, tmp_path):
        write_dicom_case(tmp_path / "in" / "a", number=1)
        write_dicom_case(tmp_path / "in" / "b", number=2)
        for file in (tmp_path / "in" / "b" / "ct").iterdir():
            edit_file(file, lambda ds: setattr(ds, "RescaleIntercept", -1023))

        dataset, (first, second) = import_folder(tmp_path / "in", tmp_path / "out")

        assert (first.status, second.code) == (Status.IMPORTED, ImportRefusal.DUPLICATE_CASE)
        assert second.facts == {"case_id": first.case_id}
        assert [facts.case_id for facts in dataset.facts()] == [first.case_id]


class TestPrivacy:
    def test_nothing_of_the_patient_is_in_the_dataset(self, folder, tmp_path):
        import_folder(folder, tmp_path / "out")

        texts = [p.read_text() for p in (tmp_path / "out").rglob("*.json")]
        texts += [path.name for path in (tmp_path / "out").rglob("*")]
        for secret in (*SECRETS, "20260304", "2026-01-02", "2026-03-04", GOOD):
            assert not any(secret in text for text in texts), secret

    def test_cases_of_a_patient_share_a_pseudonym(self, tmp_path):
        for number in (1, 2):
            path = write_dicom_case(tmp_path / "in" / str(number), number=number)
            for file in [path, *(path.parent / "ct").iterdir()]:
                edit_file(file, lambda ds: setattr(ds, "PatientID", "MRN-7"))

        dataset, _ = import_folder(tmp_path / "in", tmp_path / "out")

        assert len(dataset.facts()) == 2
        assert len({facts.patient_id for facts in dataset.facts()}) == 1

    def test_ids_are_kept_on_demand(self, folder, tmp_path):
        pseudonyms = Pseudonyms(key=KEY, keeps_ids=True)

        dataset, _ = import_folder(folder, tmp_path / "out", pseudonyms=pseudonyms)

        (facts,) = dataset.facts()
        assert facts.patient_id == "MRN-99"
        assert facts.case_id.startswith("MRN-99-")

    def test_a_pattern_takes_patients_from_paths(self, folder, tmp_path):
        pseudonyms = Pseudonyms(key=KEY, keeps_ids=True)
        names = NameMap(patient_pattern="^([^/]+)/")

        dataset, _ = import_folder(folder, tmp_path / "out", pseudonyms=pseudonyms, names=names)

        assert [facts.patient_id for facts in dataset.facts()] == [GOOD]

    def test_patients_without_an_id_are_told_apart_by_study(self, tmp_path):
        path = write_dicom_case(tmp_path / "in")
        for file in (path.parent / "ct").iterdir():
            edit_file(file, lambda ds: setattr(ds, "PatientID", ""))

        dataset, _ = import_folder(tmp_path / "in", tmp_path / "out")

        assert (
            dataset.facts()[0].patient_id
            == f"patient-{Pseudonyms(key=KEY).digest('patient', '2.25.77.1')}"
        )


def test_the_factory_hides_secrets_that_the_test_of_privacy_would_find(tmp_path):
    path = write_dicom_case(tmp_path)
    text = json.dumps(dcmread(next((path.parent / "ct").iterdir())).to_json_dict())
    assert all(secret in text for secret in SECRETS)
