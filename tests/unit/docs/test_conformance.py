"""docs/conformance.md says what the software does."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from ml.dicom.encoding import SUPPORTED_SYNTAXES
from ml.dicom.errors import DicomErrorCode
from ml.dicom.rtstruct_shell import IMPLEMENTATION_CLASS_UID
from ml.dicom.series import index_series, list_source_files
from tests.factories import ct
from tests.factories.structures import hard_masks, write_masks

DOCUMENT = Path(__file__).parents[3] / "docs" / "conformance.md"
OPTIONAL = {
    "IssuerOfPatientID": "hospital",
    "PatientAge": "060Y",
    "PatientSize": "1.7",
    "PatientWeight": "70",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "none",
    "StudyDescription": "planning",
    "SpecificCharacterSet": "ISO_IR 100",
}


@pytest.fixture(scope="module")
def text() -> str:
    return DOCUMENT.read_text()


@pytest.fixture(scope="module")
def documented(text: str) -> dict[tuple[str, ...], tuple[str, str, str]]:
    """Path of an attribute to its tag, VR and value."""
    rows = re.findall(r"^\| (>*)(\w+) \| \((\w{4},\w{4})\) \| (\w\w) \| (.*) \|$", text, re.M)
    found: dict[tuple[str, ...], tuple[str, str, str]] = {}
    path: list[str] = []
    for depth, keyword, tag, vr, value in rows:
        path = [*path[: len(depth)], keyword]
        found[tuple(path)] = (tag, vr, value)
    return found


def write(folder: Path, values: dict[str, str]) -> Dataset:
    ct.write_ct(folder / "ct", ct.CtSpec(rows=40, columns=44))
    for path in (folder / "ct").iterdir():
        dataset = dcmread(path)
        for keyword in OPTIONAL:
            if keyword in dataset:
                delattr(dataset, keyword)
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
    series = index_series(list_source_files(folder / "ct"))
    write_masks(folder / "rs.dcm", series, hard_masks(series.geometry))
    return dcmread(folder / "rs.dcm")


def attributes(dataset: Dataset, above: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Path to VR of everything in a data set and its sequences."""
    found: dict[tuple[str, ...], str] = {}
    for element in dataset:
        path = (*above, element.keyword)
        found[path] = element.VR
        if element.VR == "SQ":
            for item in element.value:
                found |= attributes(item, path)
    return found


def written(dataset: Dataset) -> dict[tuple[str, ...], str]:
    found = attributes(dataset.file_meta) | attributes(dataset)
    del found["FileMetaInformationGroupLength",]
    return found


def test_every_attribute_is_listed_and_every_listed_one_written(
    documented: dict[tuple[str, ...], tuple[str, str, str]], tmp_path: Path
) -> None:
    found = written(write(tmp_path, OPTIONAL))

    assert {path: vr for path, (_, vr, _) in documented.items()} == found


def test_what_a_ct_has_not_is_absent_where_it_says_so(
    documented: dict[tuple[str, ...], tuple[str, str, str]], tmp_path: Path
) -> None:
    found = written(write(tmp_path, {}))

    conditional = {path for path, row in documented.items() if row[2].endswith("if present")}
    assert documented.keys() - found.keys() == conditional
    assert {path[-1] for path in conditional} == OPTIONAL.keys()


def test_tags_are_those_of_the_dictionary(
    documented: dict[tuple[str, ...], tuple[str, str, str]],
) -> None:
    for path, (tag, _, _) in documented.items():
        number = tag_for_keyword(path[-1])
        assert number is not None
        assert tag == f"{number >> 16:04X},{number & 0xFFFF:04X}"


def test_fixed_values_are_what_is_written(
    documented: dict[tuple[str, ...], tuple[str, str, str]], tmp_path: Path
) -> None:
    dataset = write(tmp_path, {})

    for keyword in (
        "Modality",
        "Manufacturer",
        "ManufacturerModelName",
        "SeriesDescription",
        "StructureSetLabel",
        "StructureSetDescription",
        "ApprovalStatus",
    ):
        assert documented[keyword,][2] == dataset[keyword].value
    assert documented["SOPClassUID",][2].startswith(dataset.SOPClassUID)
    assert documented["TransferSyntaxUID",][2].startswith(dataset.file_meta.TransferSyntaxUID)
    assert documented["ImplementationClassUID",][2] == IMPLEMENTATION_CLASS_UID


def test_every_refusal_has_its_meaning(text: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.M)

    assert [code for code, _ in rows] == [code.value for code in DicomErrorCode]


def test_every_transfer_syntax_is_listed(text: str) -> None:
    (section,) = re.findall(r"^## Transfer syntaxes\n(.*?)^## ", text, re.M | re.S)

    assert set(re.findall(r"\| (1\.2\.840\.[\d.]+) \|$", section, re.M)) == SUPPORTED_SYNTAXES


def test_limits_are_those_of_the_source(text: str) -> None:
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| `([\w.]+)\.(\w+)` \|$", text, re.M)

    assert len(rows) == 15
    for value, module, name in rows:
        assert value == str(getattr(import_module(module), name))
