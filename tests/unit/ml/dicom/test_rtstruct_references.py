"""What a structure set belongs to is read without its contours."""

import contextlib
import uuid
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from ml.dicom.encoding import PARSE_ERRORS
from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.rtstruct_import import read_structure_set_header
from ml.dicom.rtstruct_items import items, iterate_contours, refusing_damage
from ml.dicom.rtstruct_references import StructureSetReferences, read_references
from ml.dicom.series import index_series, list_source_files
from tests.factories.ct import CtSpec, make_structure_set_stub, save_dataset, write_ct
from tests.factories.structures import write_masks


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same bytes every time: UIDs are drawn as random UUIDs."""
    numbers = count(1 << 120)
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=next(numbers)))
    spec = CtSpec()
    write_ct(tmp_path / "ct", spec)
    series = index_series(list_source_files(tmp_path / "ct"))
    masks = {name: np.ones(series.geometry.shape, np.bool_) for name in ("one", "two")}
    write_masks(tmp_path / "rs.dcm", series, masks)
    return tmp_path / "rs.dcm"


class TestReadReferences:
    def test_series_and_frames_are_those_of_the_whole_header(self, path: Path) -> None:
        header = read_structure_set_header(path)

        found = read_references(path)

        assert found == StructureSetReferences(
            series_instance_uids=("2.25.1001.1",),
            frame_of_reference_uids=("2.25.1001.99",),
            region_count=2,
        )
        assert header.series_instance_uids == found.series_instance_uids
        assert header.frame_of_reference_uids == found.frame_of_reference_uids

    def test_damage_behind_the_header_is_not_looked_at(self, path: Path) -> None:
        content = path.read_bytes()
        whole = read_references(path)
        path.write_bytes(content[: content.index(b"\x06\x30\x39\x00") + 20])
        assert read_references(path) == whole

    def test_one_without_any_reference_has_none(self, tmp_path: Path) -> None:
        save_dataset(make_structure_set_stub(), tmp_path / "rs.dcm")
        assert read_references(tmp_path / "rs.dcm") == StructureSetReferences(
            series_instance_uids=(), frame_of_reference_uids=(), region_count=0
        )

    @pytest.mark.parametrize("kind", ["text", "empty", "ct", "cut"])
    def test_anything_else_is_refused(self, path: Path, kind: str) -> None:
        content = path.read_bytes()
        if kind == "ct":
            path.write_bytes(next((path.parent / "ct").iterdir()).read_bytes())
        else:
            path.write_bytes({"text": b"hello " * 99, "empty": b"", "cut": content[:300]}[kind])

        with pytest.raises(DicomError) as caught:
            read_references(path)

        assert caught.value.code is DicomErrorCode.RTSTRUCT_INVALID

    def test_a_sequence_that_ends_in_an_item_is_no_failing_disk(self) -> None:
        dataset = Dataset()
        tag = Tag("StructureSetROISequence")
        start_of_an_item = b"\xfe\xff\x00\xe0\x00"
        dataset[tag] = RawDataElement(tag, "SQ", 5, start_of_an_item, 0, False, True)

        with pytest.raises(PARSE_ERRORS):
            items(dataset, "StructureSetROISequence")

    def test_a_number_that_is_such_a_sequence_is_damage_too(self) -> None:
        number, data = Tag("NumberOfContourPoints"), Tag("ContourData")
        contour = Dataset()
        contour[number] = RawDataElement(number, "SQ", 5, b"\xfe\xff\x00\xe0\x00", 0, False, True)
        contour[data] = RawDataElement(data, "DS", 6, b"0\\0\\0 ", 0, False, True)
        region = Dataset()
        region.ReferencedROINumber = 1
        region.ContourSequence = [contour]
        dataset = Dataset()
        dataset.ROIContourSequence = [region]

        with pytest.raises(DicomError) as caught, refusing_damage():
            list(iterate_contours(dataset))

        assert caught.value.code is DicomErrorCode.RTSTRUCT_INVALID

    @pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about values out of form
    def test_bytes_gone_wrong_are_read_or_refused(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        header = range(132, content.index(b"\x06\x30\x39\x00"))
        drawn = np.random.default_rng(5)
        read = 0
        for place in drawn.choice(header, 300):
            spoilt = content.copy()
            spoilt[place] ^= int(drawn.integers(1, 256))
            path.write_bytes(spoilt)
            with contextlib.suppress(DicomError):
                read_references(path)
                read += 1
        assert 0 < read < 300
