"""Bytes no scanner writes: whatever they are, the answer is a refusal."""

import random
import struct
import zlib

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from ml.dicom.codestream import find_codestream_size
from ml.dicom.encoding import MAX_FRAGMENTS
from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.rtstruct_import import draw_regions
from ml.dicom.series import index_series, list_source_files, read_volume
from tests.factories import ct, ct_defects
from tests.factories.structures import write_masks

EXPLICIT = uid.ExplicitVRLittleEndian


def refusal_of(folder):
    with pytest.raises(DicomError) as caught:
        read_volume(index_series(list_source_files(folder)))
    return caught.value


def insert_before_pixels(path, content):
    data = path.read_bytes()
    at = data.rindex(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(data[:at] + content + data[at:])


class TestMutations:
    @pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom voices its doubts
    @pytest.mark.parametrize("syntax", [EXPLICIT, uid.ImplicitVRLittleEndian, uid.RLELossless])
    def test_random_damage_is_refused_or_harmless(self, tmp_path, syntax):
        path = ct.write_ct(tmp_path, ct.CtSpec(transfer_syntax_uid=syntax, slices=2))[0]
        whole, draw = path.read_bytes(), random.Random(11)
        refusals = 0
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(draw.choice([1, 3, 10])):
                data[draw.randrange(132, len(data))] = draw.randrange(256)
            path.write_bytes(data[: draw.choice([len(data), draw.randrange(len(data))])])
            try:
                read_volume(index_series(list_source_files(tmp_path)))
            except DicomError:
                refusals += 1
        assert refusals > 10


class TestNesting:
    def test_sequences_without_end_are_refused(self, tmp_path):
        path = ct.write_ct(tmp_path)[2]
        opened = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF)
        item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        insert_before_pixels(path, (opened + item) * 5000)
        error = refusal_of(tmp_path)
        assert error.code is DicomErrorCode.NOT_DICOM
        assert error.file_names == (path.name,)

    def test_an_icon_with_pixels_of_its_own_does_not_mislead(self, tmp_path):
        def edit(ds, number):
            icon = Dataset()
            icon.Rows = icon.Columns = 2
            icon.PixelData = b"\1\2\3\4"
            icon["PixelData"].VR = "OB"
            ds.IconImageSequence = Sequence([icon])
            ds["IconImageSequence"].is_undefined_length = True

        ct.write_ct(tmp_path, edit=edit)
        volume = read_volume(index_series(list_source_files(tmp_path)))
        assert (volume.hu == ct.CtSpec().hu).all()

    def test_a_sequence_where_a_value_belongs_is_refused(self, tmp_path):
        path = ct.write_ct(tmp_path)[2]
        ds = dcmread(path)
        del ds.ImagePositionPatient
        ds.save_as(path)
        data = path.read_bytes()
        at = data.index(b"\x20\x00\x37\x00DS")
        tag = struct.pack("<HH2sHI", 0x0020, 0x0032, b"SQ", 0, 0xFFFFFFFF)
        end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        path.write_bytes(data[:at] + tag + end + data[at:])
        error = refusal_of(tmp_path)
        assert error.code is DicomErrorCode.INVALID_VALUE
        assert error.facts == {"attributes": ["ImagePositionPatient"]}


class TestSizes:
    def test_a_deflated_data_set_may_not_explode(self, tmp_path, monkeypatch):
        monkeypatch.setattr("ml.dicom.encoding.MAX_INFLATED_BYTES", 100_000)
        path = ct.write_ct(tmp_path, ct.CtSpec(transfer_syntax_uid=uid.ImplicitVRLittleEndian))[2]
        ds = dcmread(path)
        ds.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
        ds.PixelData = bytes(1_000_000)
        ds.save_as(path, enforce_file_format=True)
        assert path.stat().st_size < 10_000
        assert refusal_of(tmp_path).code is DicomErrorCode.NOT_DICOM

    def test_a_broken_deflate_stream_is_refused(self, tmp_path):
        spec = ct.CtSpec(transfer_syntax_uid=uid.DeflatedExplicitVRLittleEndian)
        path = ct.write_ct(tmp_path, spec)[2]
        data = path.read_bytes()
        path.write_bytes(data[:400] + bytes(50) + data[450:])
        with pytest.raises(zlib.error):
            zlib.decompress(path.read_bytes()[400:], -zlib.MAX_WBITS)
        assert refusal_of(tmp_path).code in (
            DicomErrorCode.NOT_DICOM,
            DicomErrorCode.PIXELS_MISSING,
            DicomErrorCode.PIXELS_TRUNCATED,
        )

    def test_a_length_beyond_the_file_is_refused(self, tmp_path):
        path = ct.write_ct(tmp_path)[2]
        long = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 0xFFFFFFF0)
        insert_before_pixels(path, long)
        assert refusal_of(tmp_path).code is DicomErrorCode.PIXELS_MISSING


class TestFragments:
    def replace_pixels(self, folder, value, *, length=0xFFFFFFFF):
        spec = ct.CtSpec(transfer_syntax_uid=uid.JPEGLSLossless)
        path = ct.write_ct(folder, spec)[2]
        data = path.read_bytes()
        at = (
            data.index(b"\xe0\x7f\x10\x00OW")
            if b"\xe0\x7f\x10\x00OW" in data
            else data.index(b"\xe0\x7f\x10\x00OB")
        )
        path.write_bytes(data[: at + 8] + struct.pack("<I", length) + value)

    def item(self, content=b"", tag=0xE000):
        return struct.pack("<HHI", 0xFFFE, tag, len(content)) + content

    @pytest.mark.parametrize(
        "case", ["no fragment", "no end", "a foreign tag", "too many", "not marked", "a length"]
    )
    def test_malformed_sequences_of_fragments_are_refused(self, tmp_path, case):
        table, end = self.item(), self.item(tag=0xE0DD)
        whole = self.item(b"\xff\xd8 \xff\xd9")
        value = {
            "no fragment": table + end,
            "no end": table + whole,
            "a foreign tag": table + whole + self.item(tag=0xE00D),
            "too many": table * (MAX_FRAGMENTS + 2) + end,
            "not marked": table + self.item(b"\xff\xd8 cut off here   ") + end,
            "a length": table + whole + end,
        }[case]
        length = len(value) if case == "a length" else 0xFFFFFFFF
        self.replace_pixels(tmp_path, value, length=length)
        error = refusal_of(tmp_path)
        assert error.code is DicomErrorCode.PIXELS_TRUNCATED
        assert error.sop_instance_uids == (ct.slice_uid(ct.CtSpec(), 2),)

    def test_a_file_cut_within_an_element_is_no_dicom(self, tmp_path):
        path = ct.write_ct(tmp_path)[2]
        data = path.read_bytes()
        path.write_bytes(data[: data.rindex(b"\xe0\x7f\x10\x00OW") + 10])
        assert refusal_of(tmp_path).code is DicomErrorCode.NOT_DICOM

    def test_floating_point_pixels_are_not_supported(self, tmp_path):
        def edit(ds, number):
            del ds.PixelData
            ds.FloatPixelData = bytes(24 * 20 * 4)

        ct_defects.edited(edit)(tmp_path)
        assert refusal_of(tmp_path).code is DicomErrorCode.PIXEL_FORMAT_UNSUPPORTED

    def test_eight_bits_in_a_codestream_do_not_fill_sixteen(self, tmp_path):
        paths = ct.write_ct(tmp_path, ct.CtSpec(transfer_syntax_uid=uid.JPEGLSLossless))
        data = paths[2].read_bytes()
        at = data.index(b"\xff\xf7\x00\x0b\x10")
        paths[2].write_bytes(data[: at + 4] + b"\x08" + data[at + 5 :])
        assert refusal_of(tmp_path).code is DicomErrorCode.PIXELS_TRUNCATED


class TestRepetitions:
    """Of two elements with one tag nobody knows which is meant."""

    @pytest.mark.parametrize("syntax", [EXPLICIT, uid.ImplicitVRLittleEndian])
    def test_a_second_position_is_refused(self, tmp_path, syntax):
        path = ct.write_ct(tmp_path, ct.CtSpec(transfer_syntax_uid=syntax))[2]
        start, end = (path.read_bytes().index(tag) for tag in (b"\x20\0\x32\0", b"\x20\0\x37\0"))
        data = path.read_bytes()
        path.write_bytes(data[:end] + data[start:end] + data[end:])
        error = refusal_of(tmp_path)
        assert error.code is DicomErrorCode.NOT_DICOM
        assert error.file_names == (path.name,)

    def test_a_second_transfer_syntax_is_refused(self, tmp_path):
        path = ct.write_ct(tmp_path)[2]
        data = path.read_bytes()
        start, end = data.index(b"\2\0\x10\0UI"), data.index(b"\2\0\x12\0UI")
        path.write_bytes(data[:end] + data[start:end] + data[end:])
        assert refusal_of(tmp_path).code is DicomErrorCode.NOT_DICOM

    @pytest.mark.filterwarnings("ignore:Expected explicit VR:UserWarning")  # rightly
    def test_a_first_element_that_is_looked_at_twice_is_no_repetition(self, tmp_path):
        paths = ct.write_ct(tmp_path, ct.CtSpec(transfer_syntax_uid=uid.ImplicitVRLittleEndian))
        whole = read_volume(index_series(list_source_files(tmp_path)))
        for path in paths:  # the meta information says explicit, and the data set is implicit
            said = b"UI\x12\0" + b"1.2.840.10008.1.2\0"
            data = path.read_bytes()
            assert said in data
            path.write_bytes(data.replace(said, b"UI\x14\0" + b"1.2.840.10008.1.2.1\0"))
        seen = read_volume(index_series(list_source_files(tmp_path)))
        np.testing.assert_array_equal(seen.hu, whole.hu)

    def test_a_second_contour_sequence_is_refused(self, tmp_path):
        ct.write_ct(tmp_path / "ct")
        series = index_series(list_source_files(tmp_path / "ct"))
        path = tmp_path / "rs.dcm"
        write_masks(path, series, {"a": np.ones(series.geometry.shape, np.bool_)})
        data = path.read_bytes()
        start, end = data.index(b"\x06\x30\x39\0"), data.rindex(b"\x06\x30\x80\0")
        path.write_bytes(data[:end] + data[start:end] + data[end:])
        with pytest.raises(DicomError) as caught:
            draw_regions(path, [1], series)
        assert caught.value.code is DicomErrorCode.RTSTRUCT_INVALID


class TestCodestreamSize:
    @pytest.mark.parametrize(
        "fragment",
        [
            b"",
            b"neither",
            b"\xff\xd8",
            b"\xff\xd8\xff",
            b"\xff\xd8 no segment",
            b"\xff\xd8\xff\xe0\x00\x04ab\xff\xda\x00\x02 scan",
            b"\xff\x4f\xff\x51short",
        ],
    )
    def test_what_has_none_gives_none(self, fragment):
        assert find_codestream_size(fragment) is None


class TestMetaInformation:
    @pytest.mark.parametrize("content", [b"", b"\2\0\x10\0UI\2\0", b"\2\0\0\0"])
    def test_without_a_transfer_syntax_it_is_no_dicom(self, tmp_path, content):
        ct.write_ct(tmp_path)
        (tmp_path / "x.dcm").write_bytes(bytes(128) + b"DICM" + content)
        error = refusal_of(tmp_path)
        assert error.code is DicomErrorCode.NOT_DICOM
        assert error.file_names == ("x.dcm",)

    def test_without_a_sop_class_it_is_no_dicom(self, tmp_path):
        path = ct.write_ct(tmp_path)[2]
        ds = dcmread(path)
        del ds.SOPClassUID
        ds.save_as(path)
        assert refusal_of(tmp_path).code is DicomErrorCode.NOT_DICOM

    def test_a_sequence_as_its_class_makes_it_no_dicom(self, tmp_path):
        path = ct.write_ct(tmp_path)[2]
        data = path.read_bytes()
        at = data.index(b"\2\0\2\0UI")
        end = data.index(b"\2\0\3\0UI")
        empty = struct.pack("<HH2sHIHHI", 2, 2, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE0DD, 0)
        path.write_bytes(data[:at] + empty + data[end:])
        assert refusal_of(tmp_path).code is DicomErrorCode.NOT_DICOM


class TestValues:
    def test_a_kind_that_does_not_exist_without_bytes_is_an_absent_value(self, tmp_path):
        path = ct.write_ct(tmp_path)[2]
        data = path.read_bytes()
        whole = b"\x28\0\4\0CS\x0c\0MONOCHROME2 "
        assert whole in data
        path.write_bytes(data.replace(whole, b"\x28\0\4\0C\0\0\0"))
        error = refusal_of(tmp_path)
        assert error.code is DicomErrorCode.PIXEL_FORMAT_UNSUPPORTED
        assert error.file_names == (path.name,)

    @pytest.mark.parametrize("word", [b"1_0", b"nan", b"inf", b"1 0", b"0x1"])
    def test_what_python_takes_for_a_number_is_none_in_dicom(self, tmp_path, word):
        path = ct.write_ct(tmp_path)[2]
        data = path.read_bytes()
        start = data.index(b"\x20\0\x32\0DS") + 8  # ImagePositionPatient
        length = int.from_bytes(data[start - 2 : start], "little")
        position = data[start : start + length].split(b"\\")
        bad = b"\\".join([word, *position[1:2], b"1"]).ljust(length)
        assert len(bad) == length
        path.write_bytes(data[:start] + bad + data[start + length :])
        error = refusal_of(tmp_path)
        assert error.code is DicomErrorCode.INVALID_VALUE
        assert error.file_names == (path.name,)

    def test_a_number_of_too_few_bytes_damages_a_structure_set(self, tmp_path):
        ct.write_ct(tmp_path / "ct")
        series = index_series(list_source_files(tmp_path / "ct"))
        mask = np.zeros(series.geometry.shape, np.bool_)
        mask[1, 5:9, 5:9] = True
        path = tmp_path / "rs.dcm"
        list(write_masks(path, series, {"a": mask}))
        structures = dcmread(path)
        structures.file_meta.TransferSyntaxUID = EXPLICIT
        structures.save_as(path, enforce_file_format=True, implicit_vr=False, little_endian=True)
        data = path.read_bytes()
        number = b"\x06\x30\x46\0IS\2\0"
        assert number in data
        path.write_bytes(data.replace(number, b"\x06\x30\x46\0FL\2\0"))
        with pytest.raises(DicomError) as caught:
            draw_regions(path, [1], series)
        assert caught.value.code is DicomErrorCode.RTSTRUCT_INVALID
