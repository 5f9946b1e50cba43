import numpy as np
import pytest
from pydicom import dcmread, uid

from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.series import SkipReason, SourceFile, index_series, list_source_files, read_volume
from tests.factories import ct


def index_of(folder):
    return index_series(list_source_files(folder))


class TestIndexSeries:
    def test_slices_ascend_along_the_normal_whatever_files_are_called(self, tmp_path):
        spec = ct.CtSpec()
        paths = ct.write_ct(tmp_path, spec)
        index = index_of(tmp_path)
        assert [instance.path for instance in index.instances] == paths
        assert [i.sop_instance_uid for i in index.instances] == [
            ct.slice_uid(spec, number) for number in range(5)
        ]
        assert index.geometry.shape == (5, 24, 20)
        np.testing.assert_allclose(index.geometry.slice_positions_mm, spec.positions_mm, atol=1e-3)

    def test_says_what_the_series_is(self, tmp_path):
        ct.write_ct(tmp_path, ct.CtSpec(patient_position="FFP"))
        index = index_of(tmp_path)
        assert index.study_instance_uid == "2.25.1001"
        assert index.series_instance_uid == "2.25.1001.1"
        assert index.frame_of_reference_uid == "2.25.1001.99"
        assert index.patient_position == "FFP"
        assert {i.sop_class_uid for i in index.instances} == {uid.CTImageStorage}
        assert {i.transfer_syntax_uid for i in index.instances} == {uid.ExplicitVRLittleEndian}

    def test_patient_position_may_be_missing(self, tmp_path):
        ct.write_ct(tmp_path, edit=lambda ds, _: delattr(ds, "PatientPosition"))
        assert index_of(tmp_path).patient_position is None

    def test_does_not_depend_on_the_order_of_files(self, tmp_path):
        ct.write_ct(tmp_path)
        files = list_source_files(tmp_path)
        one, other = index_series(files), index_series(files[::-1])
        assert one.instances == other.instances

    @pytest.mark.parametrize("position", ct.ORIENTATIONS)
    def test_accepts_every_patient_position(self, tmp_path, position):
        spec = ct.CtSpec(patient_position=position, pixel_spacing_mm=(2.0, 1.5))
        ct.write_ct(tmp_path, spec)
        geometry = index_of(tmp_path).geometry
        np.testing.assert_array_equal(
            [geometry.row_direction, geometry.column_direction], spec.directions
        )
        np.testing.assert_allclose(geometry.slice_positions_mm, spec.positions_mm, atol=1e-3)
        assert geometry.spacing_mm == pytest.approx((3.0, 2.0, 1.5))

    def test_accepts_what_consoles_jitter_and_keeps_it(self, tmp_path):
        offsets = (0.0, 3.0001, 5.9999, 9.0002, 12.05)
        spec = ct.CtSpec(offsets_mm=offsets)
        ct.write_ct(
            tmp_path,
            spec,
            lambda ds, number: setattr(
                ds, "ImagePositionPatient", [f"{v:.8g}" for v in spec.positions_mm[number]]
            ),
        )
        positions = index_of(tmp_path).geometry.slice_positions_mm
        np.testing.assert_allclose(positions, spec.positions_mm, atol=1e-5)

    def test_uid_padding_is_not_part_of_the_uid(self, tmp_path):
        ct.write_ct(tmp_path)
        assert all("\0" not in i.sop_instance_uid for i in index_of(tmp_path).instances)

    def test_reads_files_without_preamble(self, tmp_path):
        for number, path in enumerate(ct.write_ct(tmp_path / "with")):
            ds = dcmread(path)
            del ds.file_meta
            ds.preamble = None
            bare = tmp_path / "bare" / path.name
            bare.parent.mkdir(exist_ok=True)
            ds.save_as(bare, implicit_vr=number % 2 == 0, little_endian=True)
        index = index_of(tmp_path / "bare")
        np.testing.assert_array_equal(read_volume(index).hu, ct.CtSpec().hu)

    def test_reads_files_whose_meta_information_has_no_preamble(self, tmp_path):
        for path in ct.write_ct(tmp_path):
            path.write_bytes(path.read_bytes()[132:])
        assert len(index_of(tmp_path).instances) == 5


class TestSkippedFiles:
    def test_what_is_no_image_is_skipped_and_listed(self, tmp_path):
        ct.write_ct(tmp_path)
        ct.save_dataset(ct.make_structure_set_stub(), tmp_path / "rs.dcm")
        dose = ct.make_slice(ct.CtSpec(), 0)
        dose.SOPClassUID, dose.Modality = uid.RTDoseStorage, "RTDOSE"
        ct.save_dataset(dose, tmp_path / "rd.dcm")
        directory = ct.make_structure_set_stub()
        directory.SOPClassUID = uid.MediaStorageDirectoryStorage
        ct.save_dataset(directory, tmp_path / "DICOMDIR")
        (tmp_path / "README").write_text("how to use this disc")
        (tmp_path / "report.pdf").write_bytes(b"%PDF-1.4 \0\1\2")
        (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (tmp_path / "__MACOSX").mkdir()
        (tmp_path / "__MACOSX" / "CT.dcm").write_bytes(b"\0\5\x16\7")
        skipped = {file.name: file.reason for file in index_of(tmp_path).skipped}
        assert skipped == {
            ".DS_Store": SkipReason.SYSTEM_FILE,
            "DICOMDIR": SkipReason.DICOMDIR,
            "README": SkipReason.NOT_DICOM,
            "__MACOSX/CT.dcm": SkipReason.SYSTEM_FILE,
            "rd.dcm": SkipReason.NOT_AN_IMAGE,
            "report.pdf": SkipReason.NOT_DICOM,
            "rs.dcm": SkipReason.NOT_AN_IMAGE,
        }
        assert list(skipped) == sorted(skipped)

    def test_a_dicomdir_that_is_no_dicom_is_skipped_by_its_name(self, tmp_path):
        ct.write_ct(tmp_path)
        (tmp_path / "DICOMDIR").write_bytes(b"\0\1\2")
        (skipped,) = index_of(tmp_path).skipped
        assert skipped.reason is SkipReason.DICOMDIR

    @pytest.mark.parametrize("name", ["IM0001", "a.dcm", "x.IMA", "scan.17", "folder\\y.dicom"])
    @pytest.mark.parametrize("content", [b"", b"\0\1\2\3" * 100], ids=["empty", "noise"])
    def test_what_is_named_like_dicom_but_is_not_is_refused(self, tmp_path, name, content):
        ct.write_ct(tmp_path / "ct")
        path = tmp_path / "other"
        path.write_bytes(content)
        with pytest.raises(DicomError) as caught:
            index_series([*list_source_files(tmp_path / "ct"), SourceFile(path=path, name=name)])
        assert caught.value.code is DicomErrorCode.NOT_DICOM
        assert caught.value.file_names == (name,)


class TestReadVolume:
    @pytest.mark.parametrize(
        "syntax", [*ct.NATIVE_SYNTAXES, *ct.COMPRESSED_SYNTAXES], ids=lambda syntax: syntax.name
    )
    @pytest.mark.parametrize("is_signed", [False, True], ids=["unsigned", "signed"])
    def test_every_syntax_gives_the_same_hu(self, tmp_path, syntax, is_signed):
        spec = ct.CtSpec(transfer_syntax_uid=syntax, is_signed=is_signed, slices=2)
        ct.write_ct(tmp_path, spec)
        index = index_of(tmp_path)
        assert {i.transfer_syntax_uid for i in index.instances} == {syntax}
        volume = read_volume(index)
        assert volume.hu.dtype == np.int16
        np.testing.assert_array_equal(volume.hu, spec.hu)

    def test_reversible_jpeg_2000_counts_where_the_image_says_so(self, tmp_path):
        spec = ct.CtSpec(slices=2)
        for path in ct.write_ct(
            tmp_path, spec, lambda ds, _: setattr(ds, "LossyImageCompression", "00")
        ):
            ct.transcode(path, uid.JPEG2000)
        index = index_of(tmp_path)
        assert {i.transfer_syntax_uid for i in index.instances} == {uid.JPEG2000}
        assert np.abs(read_volume(index).hu.astype(int) - spec.hu).max() <= 1

    def test_every_slice_has_its_own_rescale(self, tmp_path):
        def edit(ds, number):
            ds.RescaleSlope, ds.RescaleIntercept = 0.5 * (number + 1), -100 * number

        spec = ct.CtSpec(slices=3)
        ct.write_ct(tmp_path, spec, edit)
        stored = spec.hu.astype(np.int64) + 1024
        expected = [np.rint(stored[n] * 0.5 * (n + 1) - 100 * n) for n in range(3)]
        np.testing.assert_array_equal(read_volume(index_of(tmp_path)).hu, np.array(expected))

    @pytest.mark.parametrize("is_signed", [False, True], ids=["unsigned", "signed"])
    def test_unused_bits_are_not_part_of_the_value(self, tmp_path, is_signed):
        def edit(ds, number):
            ds.BitsStored, ds.HighBit = 12, 11
            pixels = np.frombuffer(ds.PixelData, np.uint16)
            ds.PixelData = ((pixels & 0x0FFF) | 0x5000).tobytes()  # overlays of old scanners

        spec = ct.CtSpec(slices=2, is_signed=is_signed)
        ct.write_ct(tmp_path, spec, edit)
        np.testing.assert_array_equal(read_volume(index_of(tmp_path)).hu, spec.hu)

    def test_hears_of_progress(self, tmp_path):
        ct.write_ct(tmp_path)
        heard = []
        read_volume(index_of(tmp_path), heard.append)
        assert heard == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])

    def test_refuses_values_beyond_16_bits(self, tmp_path):
        stored = ct.CtSpec().hu[1].astype(int) + 1024
        paths = ct.write_ct(
            tmp_path, edit=lambda ds, number: setattr(ds, "RescaleSlope", 1 if number != 1 else 90)
        )
        with pytest.raises(DicomError) as caught:
            read_volume(index_of(tmp_path))
        assert caught.value.code is DicomErrorCode.INVALID_VALUE
        assert caught.value.file_names == (paths[1].name,)
        assert caught.value.facts == {
            "smallest_hu": stored.min() * 90 - 1024,
            "largest_hu": stored.max() * 90 - 1024,
        }

    def test_padding_has_no_hu_and_saturates(self, tmp_path):
        def edit(ds, number):
            pixels = np.frombuffer(ds.PixelData, np.int16).copy()
            pixels[:7] = -32768
            ds.PixelData, ds.PixelPaddingValue = pixels.tobytes(), -32768
            ds.RescaleIntercept = -1024

        ct.write_ct(tmp_path, ct.CtSpec(is_signed=True, slices=2), edit)
        hu = read_volume(index_of(tmp_path)).hu
        assert (hu[:, 0, :7] == -32768).all()
        assert hu[0, 0, 7] == ct.CtSpec().hu[0, 0, 7] - 1024

    @pytest.mark.parametrize(
        "syntax",
        [uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.RLELossless, uid.JPEGLosslessSV1],
        ids=lambda syntax: syntax.name,
    )
    def test_a_damaged_codestream_is_refused(self, tmp_path, syntax):
        ct.write_ct(tmp_path)
        ct.write_declared_syntax(tmp_path, syntax)
        index = index_of(tmp_path)
        with pytest.raises(DicomError) as caught:
            read_volume(index)
        assert caught.value.code is DicomErrorCode.PIXELS_TRUNCATED
        assert caught.value.sop_instance_uids == (ct.slice_uid(ct.CtSpec(), 2),)

    @pytest.mark.parametrize("syntax", ct.COMPRESSED_SYNTAXES[1:], ids=lambda syntax: syntax.name)
    @pytest.mark.parametrize("size", [(20, 24), (12, 20), (48, 20)])
    def test_a_codestream_of_another_size_is_refused(self, tmp_path, syntax, size):
        for path in ct.write_ct(tmp_path, ct.CtSpec(transfer_syntax_uid=syntax, slices=2)):
            ds = dcmread(path)
            ds.Rows, ds.Columns = size
            ds.save_as(path)
        index = index_of(tmp_path)
        with pytest.raises(DicomError) as caught:
            read_volume(index)
        assert caught.value.code is DicomErrorCode.PIXELS_TRUNCATED

    @pytest.mark.parametrize("size", [(12, 20), (48, 20)])
    def test_run_lengths_of_another_size_are_refused(self, tmp_path, size):
        for path in ct.write_ct(tmp_path, ct.CtSpec(transfer_syntax_uid=uid.RLELossless)):
            ds = dcmread(path)
            ds.Rows, ds.Columns = size
            ds.save_as(path)
        index = index_of(tmp_path)
        with pytest.raises(DicomError) as caught:
            read_volume(index)
        assert caught.value.code is DicomErrorCode.PIXELS_TRUNCATED

    @pytest.mark.parametrize("change", ["replaced", "cut", "emptied", "no image"])
    def test_a_file_that_changed_since_is_refused(self, tmp_path, change):
        paths = ct.write_ct(tmp_path)
        index = index_of(tmp_path)
        data = paths[3].read_bytes()
        if change == "no image":
            ct.save_dataset(ct.make_structure_set_stub(), paths[3])
        else:
            paths[3].write_bytes(
                {"replaced": paths[2].read_bytes(), "cut": data[:-100], "emptied": b""}[change]
            )
        with pytest.raises(DicomError) as caught:
            read_volume(index)
        assert caught.value.code is DicomErrorCode.PIXELS_TRUNCATED
        assert caught.value.file_names == (paths[3].name,)

    def test_a_missing_decoder_is_said(self, tmp_path, monkeypatch):
        ct.write_ct(tmp_path, ct.CtSpec(transfer_syntax_uid=uid.JPEG2000Lossless))
        index = index_of(tmp_path)
        monkeypatch.setattr("pydicom.pixels.decoders.base.JPEG2000LosslessDecoder._available", {})
        with pytest.raises(DicomError) as caught:
            read_volume(index)
        assert caught.value.code is DicomErrorCode.TRANSFER_SYNTAX_UNSUPPORTED
