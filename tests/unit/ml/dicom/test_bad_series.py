import re

import pytest

from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.series import index_series, list_source_files
from tests.factories import ct, ct_defects


def refusal_of(folder):
    with pytest.raises(DicomError) as caught:
        index_series(list_source_files(folder))
    return caught.value


class TestDefects:
    @pytest.mark.parametrize("defect", ct_defects.DEFECTS.values(), ids=list(ct_defects.DEFECTS))
    def test_each_is_refused_by_its_code_with_its_offenders(self, tmp_path, defect):
        defect.make(tmp_path)
        error = refusal_of(tmp_path)
        assert error.code is defect.code
        assert error.file_names == tuple(sorted(error.file_names))
        assert error.file_names
        if defect.offenders is not None:
            expected = {ct.slice_uid(ct.CtSpec(), number) for number in defect.offenders}
            assert set(error.sop_instance_uids) == expected
            assert len(error.file_names) == len(defect.offenders)
        assert not re.search(r"Phantom|P-0001|Eva", error.message)

    def test_every_code_of_a_series_has_a_defect(self):
        of_syntaxes = {DicomErrorCode.TRANSFER_SYNTAX_UNSUPPORTED}
        of_structure_sets = {DicomErrorCode.RTSTRUCT_INVALID}
        of_deidentification = {DicomErrorCode.BURNED_IN_ANNOTATION}
        covered = {defect.code for defect in ct_defects.DEFECTS.values()}
        others = of_syntaxes | of_structure_sets | of_deidentification
        assert covered | others == set(DicomErrorCode)

    def test_the_same_files_are_refused_in_the_same_words(self, tmp_path):
        ct_defects.DEFECTS["two series"].make(tmp_path)
        files = list_source_files(tmp_path)
        answers = []
        for order in (files, files[::-1]):
            with pytest.raises(DicomError) as caught:
                index_series(order)
            error = caught.value
            answers.append((error.message, error.sop_instance_uids, error.file_names, error.facts))
        assert answers[0] == answers[1]


class TestTransferSyntaxes:
    @pytest.mark.parametrize("number", [50, 51, 53, 55, 81, 91, 93, 203])
    def test_lossy_ones_are_refused(self, tmp_path, number):
        syntax = f"1.2.840.10008.1.2.4.{number}"
        ct.write_declared_syntax(tmp_path, syntax)
        error = refusal_of(tmp_path)
        assert error.code is DicomErrorCode.LOSSY_COMPRESSION
        assert error.sop_instance_uids == (ct.slice_uid(ct.CtSpec(), 2),)
        assert error.facts == {"transfer_syntax_uids": [syntax]}

    @pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.201"])
    def test_unknown_ones_are_refused(self, tmp_path, syntax):
        ct.write_declared_syntax(tmp_path, syntax)
        error = refusal_of(tmp_path)
        assert error.code is DicomErrorCode.TRANSFER_SYNTAX_UNSUPPORTED
        assert error.facts == {"transfer_syntax_uids": [syntax]}

    def test_a_lossless_syntax_may_hold_what_was_lossy_before(self, tmp_path):
        ct.write_declared_syntax(tmp_path, "1.2.840.10008.1.2.4.90", LossyImageCompression="01")
        assert refusal_of(tmp_path).code is DicomErrorCode.LOSSY_COMPRESSION


class TestFacts:
    def test_a_gap_is_located(self, tmp_path):
        ct.write_ct(tmp_path, ct.CtSpec(offsets_mm=(0, 3, 6, 15, 18, 24)))
        error = refusal_of(tmp_path)
        spec = ct.CtSpec()
        assert error.facts == {
            "slice_spacing_mm": 3.0,
            "missing_slices": 3,
            "gaps": [
                {
                    "after_sop_instance_uid": ct.slice_uid(spec, 2),
                    "before_sop_instance_uid": ct.slice_uid(spec, 3),
                    "missing_slices": 2,
                },
                {
                    "after_sop_instance_uid": ct.slice_uid(spec, 4),
                    "before_sop_instance_uid": ct.slice_uid(spec, 5),
                    "missing_slices": 1,
                },
            ],
        }

    def test_invalid_attributes_are_named(self, tmp_path):
        ct_defects.setting(PixelSpacing=[0, 2], RescaleSlope=0)(tmp_path)
        assert refusal_of(tmp_path).facts == {"attributes": ["PixelSpacing", "RescaleSlope"]}

    def test_two_sequences_of_two_slices_are_both_named(self, tmp_path):
        ct.write_ct(
            tmp_path,
            ct.CtSpec(slices=2),
            lambda ds, number: setattr(ds, "PixelSpacing", [2, 2 + number]),
        )
        error = refusal_of(tmp_path)
        assert error.code is DicomErrorCode.MIXED_PIXEL_SPACINGS
        assert len(error.sop_instance_uids) == 2

    def test_a_volume_that_fits_no_memory_is_refused_by_its_headers(self, tmp_path, monkeypatch):
        monkeypatch.setattr("ml.dicom.stack_rules.MAX_VOXELS", 2399)
        ct.write_ct(tmp_path)
        error = refusal_of(tmp_path)
        assert error.code is DicomErrorCode.INVALID_VALUE
        assert error.facts == {"voxels": 2400, "limit": 2399}
