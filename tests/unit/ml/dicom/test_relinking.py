from pathlib import Path

import pytest
from pydicom import dcmread

from ml.dicom.deidentification import deidentify_series
from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.identity import Identity
from ml.dicom.relinking import Original, relinked_rtstruct
from ml.dicom.rtstruct_check import check_rtstruct
from ml.dicom.series import SeriesIndex, index_series, list_source_files
from ml.pseudonyms import Pseudonyms
from tests.factories import ct
from tests.factories.structures import box_masks, write_masks

KEYED = Pseudonyms(key=b"k" * 32)


class Journey:
    """A CT sent, stored without its patient, contoured, and what was kept aside."""

    def __init__(self, folder: Path, spec: ct.CtSpec, names: tuple[str, ...]) -> None:
        ct.write_ct(folder / "sent", spec)
        self.sent = index_series(list_source_files(folder / "sent"))
        (folder / "stored").mkdir()
        paths = [folder / "stored" / f"{i:05d}.dcm" for i in range(len(self.sent.instances))]
        self.stored = deidentify_series(self.sent, paths, KEYED)
        self.original = Original.from_bytes(Original.of(self.sent, self.stored).to_bytes())
        self.rtstruct = folder / "rs.dcm"
        masks = box_masks(self.stored.geometry).values()
        write_masks(self.rtstruct, self.stored, dict(zip(names, masks, strict=False)))

    def relinked(self, folder: Path) -> Path:
        path = folder / "relinked.dcm"
        path.write_bytes(relinked_rtstruct(self.rtstruct, self.stored, self.original))
        return path


def reference(series: SeriesIndex, folder: Path, names: tuple[str, ...]) -> Path:
    """What would have come back if nothing had been taken out."""
    path = folder / "reference.dcm"
    masks = box_masks(series.geometry).values()
    write_masks(path, series, dict(zip(names, masks, strict=False)))
    return path


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Zoë"),
        ("ISO_IR 144", "Иванова^Анна"),
        ("ISO_IR 192", "Иванова^Анна=山田^花子"),
        (None, "Plain^Name"),
        ("ISO 2022 IR 100", "Müller^Zoë"),
    ],
)
@pytest.mark.parametrize("names", [("Bladder", "Rectum"), ("Мочевой", "Rectum")])
def test_the_sender_gets_what_identified_storage_would_give(tmp_path, character_set, name, names):
    spec = ct.CtSpec(character_set=character_set, patient_name=name)
    journey = Journey(tmp_path, spec, names)
    path = journey.relinked(tmp_path)
    check_rtstruct(path, journey.sent)
    found, expected = dcmread(path), dcmread(reference(journey.sent, tmp_path, names))
    found.decode()
    expected.decode()
    fresh = {"SOPInstanceUID", "SeriesInstanceUID"}
    assert found.dir() == expected.dir()
    for keyword in set(expected.dir()) - fresh:
        if "Sequence" not in keyword:
            assert found[keyword].value == expected[keyword].value, keyword
    for keyword in ("ReferencedFrameOfReferenceSequence", "ROIContourSequence"):
        assert found[keyword].value == expected[keyword].value


def test_nothing_of_the_stored_series_is_named(tmp_path):
    journey = Journey(tmp_path, ct.CtSpec(), ("Bladder",))
    content = journey.relinked(tmp_path).read_bytes()
    for uid in journey.original.uids:
        assert uid.encode() not in content
    assert b"patient-" not in content


def test_the_same_file_gives_the_same_bytes(tmp_path):
    journey = Journey(tmp_path, ct.CtSpec(), ("Bladder",))
    first = journey.relinked(tmp_path).read_bytes()
    assert journey.relinked(tmp_path).read_bytes() == first


def test_a_file_of_another_series_is_refused(tmp_path):
    journey = Journey(tmp_path / "a", ct.CtSpec(), ("Bladder",))
    other = Journey(tmp_path / "b", ct.CtSpec(series=2, slices=4), ("Bladder",))
    with pytest.raises(DicomError) as caught:
        relinked_rtstruct(other.rtstruct, journey.stored, journey.original)
    assert caught.value.code is DicomErrorCode.RTSTRUCT_INVALID


def test_a_damaged_file_is_refused(tmp_path):
    journey = Journey(tmp_path, ct.CtSpec(), ("Bladder",))
    content = journey.rtstruct.read_bytes()
    frame = journey.stored.frame_of_reference_uid.encode()
    journey.rtstruct.write_bytes(content.replace(frame, b"\xff" + frame[1:]))
    with pytest.raises(DicomError, match="damaged content"):
        relinked_rtstruct(journey.rtstruct, journey.stored, journey.original)


def test_values_that_cannot_be_read_are_refused_before_anything_is_stored(tmp_path):
    journey = Journey(tmp_path, ct.CtSpec(), ("Bladder",))
    journey.sent.instances[0].path.write_bytes(b"")
    with pytest.raises(DicomError) as caught:
        Original.of(journey.sent, journey.stored)
    assert caught.value.code is DicomErrorCode.INVALID_VALUE


def test_identity_is_kept_byte_for_byte():
    values = {"PatientName": "Müller".encode("latin-1"), "PatientID": b"\xff\0 "}
    original = Original(
        identity=Identity(character_sets=("ISO_IR 100",), values=values), uids={"2.25.1": "1.2"}
    )
    assert Original.from_bytes(original.to_bytes()) == original
