import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import ClassVar

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataelem import DataElement

from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.rtstruct import write_rtstruct
from ml.dicom.rtstruct_check import check_rtstruct
from ml.dicom.rtstruct_read import read_rtstruct
from ml.dicom.series import index_series, list_source_files
from ml.structures import CERVIX
from tests.factories import ct
from tests.factories.structures import PROVENANCE, hard_masks, make_structure, write_masks

COPIED = [
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyInstanceUID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "FrameOfReferenceUID",
]
DROPPED = ["StudyDate", "StudyTime", "StudyID", "AccessionNumber", "PatientSex"]


@pytest.fixture
def series(tmp_path):
    ct.write_ct(tmp_path / "ct", ct.CtSpec(rows=40, columns=44))
    return index_series(list_source_files(tmp_path / "ct"))


@pytest.fixture
def masks(series):
    return hard_masks(series.geometry)


def written(series, masks, folder):
    path = folder / "rs.dcm"
    write_masks(path, series, masks)
    return dcmread(path)


class TestIdentity:
    def test_patient_and_study_are_the_cts(self, series, masks, tmp_path):
        ds, image = written(series, masks, tmp_path), dcmread(series.instances[0].path)
        for keyword in COPIED:
            assert ds[keyword] == image[keyword]

    def test_says_what_it_is_and_what_made_it(self, series, masks, tmp_path):
        ds = written(series, masks, tmp_path)
        assert ds.SOPClassUID == uid.RTStructureSetStorage
        assert (ds.Modality, ds.ApprovalStatus) == ("RTSTRUCT", "UNAPPROVED")
        assert ds.StructureSetLabel == "AUTO UNAPPROVED"
        assert "NOT FOR CLINICAL USE" in ds.SeriesDescription
        assert "not for clinical use without review" in ds.StructureSetDescription
        assert ds.Manufacturer == "CerviContour"
        assert list(ds.SoftwareVersions) == [
            "CerviContour 0.1.0",
            "model demo-1",
            "weights sha256 0123456789abcdef0123456789abcdef",
        ]
        assert ds.SeriesDate == ds.StructureSetDate == ds.InstanceCreationDate == "20260304"
        assert ds.SeriesTime == ds.StructureSetTime == ds.InstanceCreationTime == "050607.890000"

    def test_nothing_of_rt_utils_laboratory_is_left(self, series, masks, tmp_path):
        written(series, masks, tmp_path)
        content = (tmp_path / "rs.dcm").read_bytes()
        assert b"Qurit" not in content
        assert b"rt-utils" not in content
        ds = dcmread(tmp_path / "rs.dcm")
        assert "InstitutionName" not in ds
        assert all("ROIObservationDescription" not in o for o in ds.RTROIObservationsSequence)

    def test_times_are_those_of_the_given_zone(self, series, masks, tmp_path):
        created = datetime(2026, 12, 31, 23, 30, tzinfo=timezone(timedelta(hours=3)))
        provenance = replace(PROVENANCE, created_at=created)
        regions = [(make_structure(1, "a"), masks["sphere"])]
        write_rtstruct(series, regions, provenance, tmp_path / "rs.dcm")
        ds = dcmread(tmp_path / "rs.dcm")
        assert (ds.StructureSetDate, ds.StructureSetTime) == ("20261231", "233000.000000")

    def test_identifiers_are_fresh_or_given(self, series, masks, tmp_path):
        regions = [(make_structure(1, "a"), masks["sphere"])]
        seen = set()
        for name in ("a.dcm", "b.dcm"):
            write_rtstruct(series, regions, PROVENANCE, tmp_path / name)
            ds = dcmread(tmp_path / name)
            seen |= {ds.SOPInstanceUID, ds.SeriesInstanceUID}
        assert len(seen | {series.series_instance_uid}) == 5
        given = iter(["2.25.11", "2.25.12"])
        write_rtstruct(series, regions, PROVENANCE, tmp_path / "c.dcm", new_uid=lambda: next(given))
        ds = dcmread(tmp_path / "c.dcm")
        assert (ds.SOPInstanceUID, ds.SeriesInstanceUID) == ("2.25.11", "2.25.12")
        assert ds.file_meta.MediaStorageSOPInstanceUID == "2.25.11"

    def test_long_versions_are_shortened_to_what_dicom_allows(self, series, masks, tmp_path):
        provenance = replace(PROVENANCE, model_version="m" * 100, software_version="s" * 100)
        regions = [(make_structure(1, "a"), masks["sphere"])]
        write_rtstruct(series, regions, provenance, tmp_path / "rs.dcm")
        versions = dcmread(tmp_path / "rs.dcm").SoftwareVersions
        assert [len(version) for version in versions] == [64, 64, 47]

    def test_missing_type_2_attributes_become_empty(self, tmp_path, masks):
        def edit(ds, number):
            for keyword in DROPPED:
                delattr(ds, keyword)

        ct.write_ct(tmp_path / "poor", ct.CtSpec(rows=40, columns=44), edit)
        series = index_series(list_source_files(tmp_path / "poor"))
        ds = written(series, masks, tmp_path)
        for keyword in DROPPED:
            assert not ds[keyword].value
        check_rtstruct(tmp_path / "rs.dcm", series)


class TestCharacterSets:
    NAMES: ClassVar = {
        "ISO_IR 192": "Иванова^Анна=山田^花子",
        "ISO_IR 144": "Иванова^Анна",
        "ISO_IR 100": "Müller^Zoë",
    }

    @pytest.mark.parametrize("character_set", NAMES)
    @pytest.mark.parametrize("roi_name", ["Bladder", "Мочевой пузырь"])
    def test_names_survive(self, tmp_path, character_set, roi_name):
        name = self.NAMES[character_set]
        spec = ct.CtSpec(character_set=character_set, patient_name=name)
        ct.write_ct(tmp_path / "ct", spec)
        series = index_series(list_source_files(tmp_path / "ct"))
        mask = np.zeros(series.geometry.shape, np.bool_)
        ds = written(series, {roi_name: mask}, tmp_path)
        assert str(ds.PatientName) == name
        assert ds.StructureSetROISequence[0].ROIName == roi_name
        expected = character_set if roi_name.isascii() else "ISO_IR 192"
        assert ds.SpecificCharacterSet == expected

    @pytest.mark.parametrize("character_set", [b"ISO_IR 192", b"ISO IR 100", b"NONSENSE  "])
    def test_what_is_encoded_wrongly_is_copied_byte_for_byte(self, tmp_path, character_set):
        odd = "Müller^Zoë".encode("latin-1")
        for path in ct.write_ct(tmp_path / "ct"):
            data = path.read_bytes().replace(b"Phantom^Eva ", odd + b"  ")
            path.write_bytes(data.replace(b"ISO_IR 100", character_set))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's doubts about the character set
            series = index_series(list_source_files(tmp_path / "ct"))
            write_masks(tmp_path / "rs.dcm", series, {"Bladder": empty_mask(series)})
        content = (tmp_path / "rs.dcm").read_bytes()
        assert odd in content
        assert character_set.strip() in content

    def test_a_ct_without_character_set_gives_none(self, tmp_path):
        ct.write_ct(tmp_path / "ct", ct.CtSpec(character_set=None))
        series = index_series(list_source_files(tmp_path / "ct"))
        assert "SpecificCharacterSet" not in written(series, {"a": empty_mask(series)}, tmp_path)

    def test_utf_8_needs_readable_bytes(self, tmp_path):
        for path in ct.write_ct(tmp_path / "ct", ct.CtSpec(character_set="ISO_IR 192")):
            path.write_bytes(path.read_bytes().replace(b"Phantom^Eva", b"M\xfcller^Eva "[:11]))
        series = index_series(list_source_files(tmp_path / "ct"))
        with pytest.raises(DicomError) as caught:
            written(series, {"Мочевой": empty_mask(series)}, tmp_path)
        assert caught.value.code is DicomErrorCode.INVALID_VALUE
        assert caught.value.file_names == (series.instances[0].name,)

    def test_a_name_of_another_representation_is_decoded_as_a_name(self, tmp_path):
        def edit(ds, number):
            ds["PatientName"] = DataElement("PatientName", "OB", b"bytes")

        ct.write_ct(tmp_path / "ct", edit=edit)
        series = index_series(list_source_files(tmp_path / "ct"))
        ds = written(series, {"Мочевой": empty_mask(series)}, tmp_path)
        assert ds.PatientName == "bytes"

    def test_several_values_stay_several(self, tmp_path):
        spec = ct.CtSpec(transfer_syntax_uid=uid.ImplicitVRLittleEndian)

        def edit(ds, number):
            ds["StudyDescription"] = DataElement("StudyDescription", "OB", b"pelvis\\planning")

        ct.write_ct(tmp_path / "ct", spec, edit)
        series = index_series(list_source_files(tmp_path / "ct"))
        ds = written(series, {"Мочевой": empty_mask(series)}, tmp_path)
        assert list(ds.StudyDescription) == ["pelvis", "planning"]


def empty_mask(series):
    return np.zeros(series.geometry.shape, np.bool_)


class TestRegions:
    def test_follow_the_structures(self, series, tmp_path):
        empty = np.zeros(series.geometry.shape, np.bool_)
        path = tmp_path / "rs.dcm"
        write_rtstruct(series, ((s, empty) for s in CERVIX.structures), PROVENANCE, path)
        ds = dcmread(path)
        rows = zip(
            ds.StructureSetROISequence,
            ds.ROIContourSequence,
            ds.RTROIObservationsSequence,
            CERVIX.structures,
            strict=True,
        )
        for region, contour, observation, structure in rows:
            assert region.ROIName == structure.name
            assert region.ROINumber == structure.number
            assert region.ROIGenerationAlgorithm == "AUTOMATIC"
            assert region.ReferencedFrameOfReferenceUID == series.frame_of_reference_uid
            assert contour.ReferencedROINumber == structure.number
            assert tuple(contour.ROIDisplayColor) == structure.color_rgb
            assert "ContourSequence" not in contour
            assert observation.ReferencedROINumber == structure.number
            assert observation.RTROIInterpretedType == structure.interpreted_type

    def test_numbers_need_not_count_from_one(self, series, masks, tmp_path):
        regions = [(make_structure(n, f"r{n}"), masks["sphere"]) for n in (7, 3)]
        write_rtstruct(series, regions, PROVENANCE, tmp_path / "rs.dcm")
        check_rtstruct(tmp_path / "rs.dcm", series)
        ds = dcmread(tmp_path / "rs.dcm")
        assert [int(item.ReferencedROINumber) for item in ds.ROIContourSequence] == [7, 3]

    def test_contours_lie_on_the_slices_they_reference(self, series, masks, tmp_path):
        ds = written(series, masks, tmp_path)
        uids = [instance.sop_instance_uid for instance in series.instances]
        count = 0
        for roi in ds.ROIContourSequence:
            for item in roi.ContourSequence:
                (image,) = item.ContourImageSequence
                number = uids.index(image.ReferencedSOPInstanceUID)
                points = np.array(item.ContourData, float).reshape(-1, 3)
                assert len(points) == item.NumberOfContourPoints >= 3
                assert item.ContourGeometricType == "CLOSED_PLANAR"
                z = series.geometry.slice_positions_mm[number][2]
                np.testing.assert_allclose(points[:, 2], z, atol=1e-3)
                count += 1
        assert count > 30

    def test_decimal_strings_are_short(self, series, masks, tmp_path):
        written(series, masks, tmp_path)
        ds = dcmread(tmp_path / "rs.dcm")
        for roi in ds.ROIContourSequence:
            for item in roi.ContourSequence:
                words = item.get_item("ContourData").value.split(b"\\")
                assert max(len(word.strip()) for word in words) <= 9
                assert all(re.fullmatch(rb"-?\d+(\.\d{1,3})?", word.strip()) for word in words)

    def test_contour_data_fits_explicit_vr(self, tmp_path):
        spec = ct.CtSpec(slices=2, rows=9, columns=1300, pixel_spacing_mm=(1.2345, 0.9871))
        ct.write_ct(tmp_path / "ct", spec)
        series = index_series(list_source_files(tmp_path / "ct"))
        mask = np.zeros(series.geometry.shape, np.bool_)
        mask[:, 1:8, ::2] = mask[:, 1] = True
        ds = written(series, {"comb": mask}, tmp_path)
        lengths = [
            len(item.get_item("ContourData").value)
            for item in ds.ROIContourSequence[0].ContourSequence
        ]
        assert max(lengths) <= 65534
        check_rtstruct(tmp_path / "rs.dcm", series)
        np.testing.assert_array_equal(read_rtstruct(tmp_path / "rs.dcm", series)["comb"], mask)

    @pytest.mark.parametrize("name", ["", "a\\b", "line\nbreak", "x" * 65])
    def test_unwritable_names_are_refused(self, series, masks, tmp_path, name):
        with pytest.raises(ValueError, match="no region name"):
            written(series, {name: masks["sphere"]}, tmp_path)

    def test_other_mistakes_of_the_caller_are_refused(self, series, masks, tmp_path):
        path, one = tmp_path / "rs.dcm", make_structure(1, "one")
        with pytest.raises(ValueError, match="mask"):
            write_rtstruct(series, [(one, masks["sphere"][:, :-1])], PROVENANCE, path)
        with pytest.raises(ValueError, match="twice"):
            write_rtstruct(series, [(one, masks["sphere"])] * 2, PROVENANCE, path)
        with pytest.raises(ValueError, match="at least one"):
            write_rtstruct(series, [], PROVENANCE, path)
        assert not path.exists()


class TestWriting:
    def test_masks_are_taken_one_at_a_time(self, series, masks, tmp_path):
        alive = []

        def produce():
            for number in range(1, 4):
                alive.append(number)
                yield make_structure(number, f"r{number}"), masks["sphere"]
                assert alive == list(range(1, number + 1))

        write_rtstruct(series, produce(), PROVENANCE, tmp_path / "rs.dcm")
        check_rtstruct(tmp_path / "rs.dcm", series)

    def test_a_failure_leaves_the_old_file_and_no_other(self, series, masks, tmp_path, monkeypatch):
        path = tmp_path / "out" / "rs.dcm"
        path.parent.mkdir()
        path.write_bytes(b"old")

        def fail(_):
            raise OSError("disk full")

        monkeypatch.setattr("ml.dicom.rtstruct.os.fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            write_masks(path, series, masks)
        assert [file.name for file in path.parent.iterdir()] == ["rs.dcm"]
        assert path.read_bytes() == b"old"

    def test_prints_nothing(self, series, masks, tmp_path, capfd):
        written(series, masks, tmp_path)
        assert capfd.readouterr() == ("", "")

    def test_a_slice_that_is_gone_or_damaged_is_reported(self, series, masks, tmp_path):
        series.instances[0].path.write_bytes(b"\0" * 200)
        with pytest.raises(DicomError) as caught:
            written(series, masks, tmp_path)
        assert caught.value.code is DicomErrorCode.INVALID_VALUE

    @pytest.mark.parametrize("syntax", [*ct.NATIVE_SYNTAXES, uid.JPEGLSLossless])
    def test_any_encoding_of_the_ct_will_do(self, tmp_path, syntax):
        ct.write_ct(tmp_path / "ct", ct.CtSpec(transfer_syntax_uid=syntax, rows=40, columns=44))
        series = index_series(list_source_files(tmp_path / "ct"))
        ds = written(series, hard_masks(series.geometry), tmp_path)
        assert str(ds.PatientName) == "Phantom^Eva"
        check_rtstruct(tmp_path / "rs.dcm", series)

    @pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
    @pytest.mark.parametrize("position", ["HFS", "FFDL"])
    def test_an_independent_validator_finds_no_error(self, tmp_path, position):
        spec = ct.CtSpec(patient_position=position, rows=40, columns=44)
        paths = ct.write_ct(tmp_path / "ct", spec)
        series = index_series(list_source_files(tmp_path / "ct"))
        masks = hard_masks(series.geometry) | {"empty": np.zeros(series.geometry.shape, np.bool_)}
        written(series, masks, tmp_path)
        for path, first_line in ((tmp_path / "rs.dcm", "RTStructureSet"), (paths[0], "CTImage")):
            run = subprocess.run(
                ["dciodvfy", path], capture_output=True, text=True, check=False, errors="replace"
            )
            assert (run.stdout + run.stderr).splitlines() == [first_line]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("ml.dicom.series", ["gdcm", "contourpy", "rt_utils", "cv2", "torch", "scipy"]),
        ("ml.dicom.rtstruct_read", ["gdcm", "rt_utils", "cv2", "torch", "scipy"]),
    ],
)
def test_the_rim_does_without_what_the_writer_and_decoders_need(module, absent):
    code = f"import sys\nsys.modules.update(dict.fromkeys({absent}))\nimport {module}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr == ""
