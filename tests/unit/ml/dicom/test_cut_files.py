"""A file that ends early is refused, or nothing of the patient's geometry is missing from it."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset

from ml.dicom.encoding import MalformedFileError
from ml.dicom.errors import DicomError
from ml.dicom.files import SourceFile
from ml.dicom.header import ImageHeader, read_header
from ml.dicom.rtstruct_import import draw_regions, read_structure_set_header
from ml.dicom.rtstruct_items import open_structure_set
from ml.dicom.series import SeriesIndex, index_series, list_source_files
from tests.factories.ct import CtSpec, write_ct
from tests.factories.structures import write_masks

SYNTAXES = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
]


@pytest.fixture
def series(tmp_path: Path) -> SeriesIndex:
    write_ct(tmp_path / "ct", CtSpec(slices=3, rows=16, columns=16))
    return index_series(list_source_files(tmp_path / "ct"))


@pytest.fixture
def path(series: SeriesIndex, tmp_path: Path) -> Path:
    masks = {name: np.zeros(series.geometry.shape, np.bool_) for name in ("one", "two")}
    masks["one"][:, 3:6, 3:6] = masks["two"][:2, 8:12, 8:10] = True
    write_masks(tmp_path / "rs.dcm", series, masks)
    return tmp_path / "rs.dcm"


def declare_no_length(dataset: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                declare_no_length(item)


def rewrite(path: Path, syntax: uid.UID, *, has_lengths: bool) -> None:
    dataset = dcmread(path)
    if not has_lengths:
        declare_no_length(dataset)
    dataset.file_meta.TransferSyntaxUID = syntax
    is_implicit = syntax == uid.ImplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True, implicit_vr=is_implicit, little_endian=True)


def parts(content: bytes) -> Iterator[tuple[int, bytes]]:
    return ((count, content[:count]) for count in range(len(content)))


class TestStructureSet:
    @pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom voices its doubts
    @pytest.mark.parametrize("has_lengths", [True, False])
    @pytest.mark.parametrize("syntax", SYNTAXES)
    def test_cut_anywhere_it_is_refused_or_has_all_contours(
        self, series: SeriesIndex, path: Path, syntax: uid.UID, has_lengths: bool
    ) -> None:
        rewrite(path, syntax, has_lengths=has_lengths)
        content = path.read_bytes()
        whole = draw_regions(path, [1, 2], series)
        refused = 0
        for count, part in parts(content):
            try:
                open_structure_set(io.BytesIO(part))
            except DicomError:
                refused += 1
                continue
            path.write_bytes(part)
            assert [region.number for region in read_structure_set_header(path).regions] == [1, 2]
            drawn = draw_regions(path, [1, 2], series)
            for number, region in whole.items():
                assert np.array_equal(drawn[number].mask, region.mask), count
        assert refused > len(content) / 2

    def test_no_contour_sequence_is_a_lost_one(self, path: Path) -> None:
        dataset = dcmread(path)
        del dataset.ROIContourSequence
        dataset.save_as(path)
        with pytest.raises(DicomError, match="no ROI Contour Sequence"):
            read_structure_set_header(path)

    def test_an_empty_contour_sequence_says_that_regions_are_empty(self, path: Path) -> None:
        dataset = dcmread(path)
        dataset.ROIContourSequence = []
        dataset.save_as(path)
        regions = read_structure_set_header(path).regions
        assert [region.contour_count for region in regions] == [0, 0]


class TestImage:
    @pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom voices its doubts
    @pytest.mark.parametrize("syntax", [*SYNTAXES, uid.RLELossless])
    def test_cut_anywhere_it_is_refused(self, tmp_path: Path, syntax: uid.UID) -> None:
        path = write_ct(tmp_path, CtSpec(rows=8, columns=8, transfer_syntax_uid=syntax))[0]
        source = SourceFile(path=path, name=path.name)
        content = path.read_bytes()
        whole = read_header(source)
        accepted = []
        for count, part in parts(content):
            path.write_bytes(part)
            try:
                header = read_header(source)
            except MalformedFileError:
                continue
            assert isinstance(header, ImageHeader), count  # a slice left out would not be missed
            if header.pixels is not None and header.pixels.length is not None:
                accepted.append(count)
                assert header == whole
        assert len(accepted) < 2, "padding behind the pixels"
