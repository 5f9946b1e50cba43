import zlib
from pathlib import Path

import numpy as np
import pytest
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as confidentiality
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread, uid
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from ml.dicom.deidentification import deidentify_series
from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.series import SeriesIndex, index_series, list_source_files, read_volume
from ml.pseudonyms import Pseudonyms
from tests.factories import ct

KEYED = Pseudonyms(key=b"k" * 32)
OTHER = Pseudonyms(key=b"o" * 32)
MARKER = "ZQXMARKER"
PSEUDONYMS = {(0x0010, 0x0010), (0x0010, 0x0020)}


def sent(folder: Path, spec: ct.CtSpec | None = None, edit: ct.Edit | None = None) -> SeriesIndex:
    ct.write_ct(folder / "sent", spec, edit)
    return index_series(list_source_files(folder / "sent"))


def deidentified(folder: Path, series: SeriesIndex, pseudonyms: Pseudonyms = KEYED) -> SeriesIndex:
    target = folder / "stored"
    target.mkdir(exist_ok=True)
    paths = [target / f"{number:05d}.dcm" for number in range(len(series.instances))]
    return deidentify_series(series, paths, pseudonyms)


def first_file(series: SeriesIndex) -> Dataset:
    return dcmread(series.instances[0].path)


def assert_same_volume(ours: SeriesIndex, theirs: SeriesIndex) -> None:
    assert np.array_equal(read_volume(ours).hu, read_volume(theirs).hu)
    assert ours.patient_position == theirs.patient_position
    for name in ("spacing_mm", "shape", "slice_positions_mm", "normal"):
        assert np.array_equal(getattr(ours.geometry, name), getattr(theirs.geometry, name)), name


class TestPixels:
    @pytest.mark.parametrize("syntax", [*ct.NATIVE_SYNTAXES, *ct.COMPRESSED_SYNTAXES])
    @pytest.mark.parametrize("is_signed", [False, True])
    def test_every_encoding_keeps_its_bytes(self, tmp_path, syntax, is_signed):
        series = sent(tmp_path, ct.CtSpec(transfer_syntax_uid=syntax, is_signed=is_signed))
        stored = deidentified(tmp_path, series)
        for ours, theirs in zip(stored.instances, series.instances, strict=True):
            assert ours.transfer_syntax_uid == theirs.transfer_syntax_uid == syntax
            mine, original = dcmread(ours.path), dcmread(theirs.path)
            assert mine.PixelData == original.PixelData
            assert mine["PixelData"].VR == original["PixelData"].VR
        assert_same_volume(stored, series)

    def test_what_follows_the_pixels_is_left_out(self, tmp_path):
        def edit(ds, number):
            ds.PixelData += MARKER.encode() + b" "
            ds.DataSetTrailingPadding = MARKER.encode() * 2

        series = sent(tmp_path, edit=edit)
        stored = deidentified(tmp_path, series)
        assert len(first_file(stored).PixelData) == 24 * 20 * 2
        assert MARKER.encode() not in stored.instances[0].path.read_bytes()
        assert_same_volume(stored, series)

    def test_a_deflated_file_hides_nothing(self, tmp_path):
        spec = ct.CtSpec(transfer_syntax_uid=uid.DeflatedExplicitVRLittleEndian)
        series = sent(tmp_path, spec, lambda ds, n: setattr(ds, "StudyDescription", MARKER))
        content = deidentified(tmp_path, series).instances[0].path.read_bytes()
        start = content.index(b"CERVICONTOUR") + 12
        assert MARKER.encode() not in zlib.decompressobj(-15).decompress(content[start:])

    @pytest.mark.parametrize("keyword", ["PixelPaddingValue", "PixelPaddingRangeLimit"])
    @pytest.mark.parametrize(("is_signed", "vr", "value"), [(True, "SS", -2000), (False, "US", 7)])
    def test_padding_keeps_its_sign(self, tmp_path, keyword, is_signed, vr, value):
        def edit(ds, number):
            ds[keyword] = DataElement(keyword, vr, value)

        series = sent(tmp_path, ct.CtSpec(is_signed=is_signed), edit)
        found = first_file(deidentified(tmp_path, series))[keyword]
        assert (found.VR, found.value) == (vr, value)

    @settings(max_examples=25)
    @given(
        position=st.sampled_from(sorted(ct.ORIENTATIONS)),
        syntax=st.sampled_from(ct.NATIVE_SYNTAXES),
        spacing=st.tuples(st.floats(0.3, 5), st.floats(0.3, 5)),
        centre=st.tuples(*(st.floats(-900, 900) for _ in range(3))),
        step=st.floats(0.5, 10),
    )
    def test_geometry_is_the_same_bit_for_bit(
        self, tmp_path_factory, position, syntax, spacing, centre, step
    ):
        folder = tmp_path_factory.mktemp("ct")
        spec = ct.CtSpec(
            slices=3,
            rows=8,
            columns=6,
            pixel_spacing_mm=(round(spacing[0], 4), round(spacing[1], 4)),
            slice_spacing_mm=round(step, 3),
            centre_mm=(centre[0], centre[1], centre[2]),
            patient_position=position,
            transfer_syntax_uid=syntax,
        )
        try:
            series = sent(folder, spec)
        except DicomError:  # rounding of positions made it uneven: no series to store
            return
        assert_same_volume(deidentified(folder, series), series)


class TestTable:
    """Against every row of PS3.15 table E.1-1, edition 2026c, as another project has it."""

    def test_no_row_of_the_table_keeps_what_it_protects(self, tmp_path, protected):
        series, values = protected
        ds = first_file(deidentified(tmp_path, series))
        for tag, value in values.items():
            if tag not in ds:
                continue
            kept = ds[tag].value
            if tag in confidentiality.U_TAGS:
                assert str(kept) == KEYED.uid(value), tag
            elif tag in PSEUDONYMS:
                assert str(kept) == KEYED.patient(MARKER), tag
            else:
                assert not kept, tag

    def test_no_marker_is_left_in_the_file(self, tmp_path, protected):
        series, _ = protected
        for instance in deidentified(tmp_path, series).instances:
            assert MARKER.encode() not in instance.path.read_bytes()

    def test_the_table_was_filled(self, protected):
        _, values = protected
        assert len(values) > 600

    @pytest.fixture(params=[uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
    def protected(self, tmp_path, request):
        """A series that has every attribute of the table, private ones, and other free text."""
        values: dict[tuple[int, int], str] = {}

        def edit(ds, number):
            for row in confidentiality.ALL_TAGS:
                tag = (row[0], row[1] or 0x0010)  # (50xx,xxxx) is one row
                if tag[0] in (0, 2):  # of messages, and of the meta information: written anew
                    continue
                if tag in confidentiality.U_TAGS and tag in ds:
                    values.setdefault(tag, str(ds[tag].value))  # of the first slice
                else:
                    values.update(fill(ds, tag))
            ds.ConvolutionKernel = ds.ManufacturerModelName = MARKER
            ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", MARKER]
            ds.private_block(0x0011, "VENDOR", create=True).add_new(1, "LO", MARKER)
            ds.add_new((0x0009, 0x1001), "UN", MARKER.encode() + b" ")

        return sent(tmp_path, ct.CtSpec(transfer_syntax_uid=request.param), edit), values


def fill(ds: Dataset, tag: tuple[int, int]) -> dict[tuple[int, int], str]:
    """Give an attribute an identifying value of its representation."""
    try:
        vr = dictionary_VR(tag)
    except KeyError:  # younger than pydicom's dictionary
        vr = "LO"
    item = Dataset()
    item.PatientComments = MARKER
    value = {
        "SQ": Sequence([item]),
        "DA": "19600229",
        "TM": "101500",
        "DT": "19600229101500",
        "UI": "2.25.4711",
        "AS": "066Y",
        "IS": "4711",
        "DS": "4711",
        "US": 4711,
        "FD": 4711.0,
        "FL": 4711.0,
    }.get(vr, MARKER)
    if vr in ("OB", "OW", "UN", "OB or OW"):
        vr, value = "OB", MARKER.encode() + b" "
    ds.add_new(tag, vr, value)
    return {tag: str(value)}


class TestPseudonyms:
    def test_every_uid_is_mapped_the_same_way(self, tmp_path):
        series = sent(tmp_path)
        stored = deidentified(tmp_path, series)
        assert stored.series_instance_uid == KEYED.uid(series.series_instance_uid)
        assert stored.study_instance_uid == KEYED.uid(series.study_instance_uid)
        assert stored.frame_of_reference_uid == KEYED.uid(series.frame_of_reference_uid)
        for ours, theirs in zip(stored.instances, series.instances, strict=True):
            assert ours.sop_instance_uid == KEYED.uid(theirs.sop_instance_uid)
            meta = dcmread(ours.path).file_meta
            assert meta.MediaStorageSOPInstanceUID == ours.sop_instance_uid

    def test_another_key_gives_other_ones(self, tmp_path):
        series = sent(tmp_path)
        other = deidentified(tmp_path, series, OTHER)
        assert other.series_instance_uid != KEYED.uid(series.series_instance_uid)
        assert first_file(other).PatientID == OTHER.patient("P-0001")

    def test_a_patient_is_called_as_in_datasets(self, tmp_path):
        ds = first_file(deidentified(tmp_path, sent(tmp_path)))
        assert ds.PatientID == ds.PatientName == KEYED.patient("P-0001")

    def test_a_patient_without_id_is_known_by_the_study(self, tmp_path):
        series = sent(tmp_path, edit=lambda ds, n: setattr(ds, "PatientID", ""))
        ds = first_file(deidentified(tmp_path, series))
        assert ds.PatientID == KEYED.patient(series.study_instance_uid)

    def test_it_says_what_was_done(self, tmp_path):
        ds = first_file(deidentified(tmp_path, sent(tmp_path)))
        assert ds.PatientIdentityRemoved == "YES"
        assert ds.LongitudinalTemporalInformationModified == "REMOVED"
        (code,) = ds.DeidentificationMethodCodeSequence
        assert (code.CodeValue, code.CodingSchemeDesignator) == ("113100", "DCM")
        assert len(ds.DeidentificationMethod) <= 64

    def test_skipped_files_are_still_told(self, tmp_path):
        (tmp_path / "sent").mkdir()
        (tmp_path / "sent" / "notes.txt").write_text("x")
        assert len(deidentified(tmp_path, sent(tmp_path)).skipped) == 1


class TestValues:
    @pytest.mark.parametrize(
        ("keyword", "value"),
        [
            ("WindowCenter", f"{MARKER}"),
            ("PatientPosition", "MARKER"),
            ("BodyPartExamined", "MARKER"),
            ("SmallestImagePixelValue", 3),
        ],
    )
    def test_what_is_no_number_or_defined_term_is_left_out(self, tmp_path, keyword, value):
        def edit(ds, number):
            vr = "LO" if keyword == "WindowCenter" else dictionary_VR(keyword)[:2]
            ds[keyword] = DataElement(keyword, vr, value)

        spec = ct.CtSpec(transfer_syntax_uid=uid.ImplicitVRLittleEndian)
        ds = first_file(deidentified(tmp_path, sent(tmp_path, spec, edit)))
        assert keyword not in ds

    def test_a_sequence_in_place_of_a_value_is_left_out(self, tmp_path):
        def edit(ds, number):
            item = Dataset()
            item.PatientComments = MARKER
            ds["KVP"] = DataElement("KVP", "SQ", Sequence([item]))
            ds["KVP"].is_undefined_length = True

        stored = deidentified(tmp_path, sent(tmp_path, edit=edit))
        assert first_file(stored).KVP is None

    def test_a_short_of_another_length_is_left_out(self, tmp_path):
        def edit(ds, number):
            ds["PixelPaddingRangeLimit"] = DataElement("PixelPaddingRangeLimit", "US", [1, 2])

        assert "PixelPaddingRangeLimit" not in first_file(
            deidentified(tmp_path, sent(tmp_path, edit=edit))
        )


class TestRefusals:
    def test_burned_in_text_is_refused(self, tmp_path):
        def edit(ds, number):
            ds.BurnedInAnnotation = "YES" if number == 2 else "NO"

        series = sent(tmp_path, edit=edit)
        with pytest.raises(DicomError) as caught:
            deidentified(tmp_path, series)
        assert caught.value.code is DicomErrorCode.BURNED_IN_ANNOTATION
        assert caught.value.sop_instance_uids == (ct.slice_uid(ct.CtSpec(), 2),)

    @pytest.mark.parametrize(("position", "is_refused"), [(12, True), (0, False)])
    def test_an_overlay_among_the_pixels_bits_is_refused(self, tmp_path, position, is_refused):
        def edit(ds, number):
            ds.add_new(0x60020102, "US", position)
            ds.add_new(0x60023000, "OW", b"\0" * 60)

        series = sent(tmp_path, edit=edit)
        if is_refused:
            with pytest.raises(DicomError, match="text in their pixels"):
                deidentified(tmp_path, series)
        else:
            assert 0x60023000 not in first_file(deidentified(tmp_path, series))

    def test_a_slice_that_was_changed_is_refused(self, tmp_path):
        series = sent(tmp_path)
        series.instances[1].path.write_bytes(b"")
        with pytest.raises(DicomError) as caught:
            deidentified(tmp_path, series)
        assert caught.value.code is DicomErrorCode.PIXELS_TRUNCATED
