import json

import numpy as np
import pytest

from ml.config import PreprocessingConfig
from ml.data.dataset import LabelledCase, create_dataset, write_case
from ml.data.fingerprint import run
from ml.data.fingerprint.report import describe_dataset, write_fingerprint
from ml.data.fingerprint.run import measure_dataset
from tests.factories.volumes import make_body, make_geometry

CONFIG = PreprocessingConfig(crop_size_px=64, pixel_spacing_mm=4.0)


def labelled(number, level=0):
    volume = make_body(make_geometry((4, 96, 96)))
    volume.hu[1] += np.int16(number + level)
    labels = np.zeros(volume.hu.shape, np.uint8)
    for value in range(1, 5):
        labels[1:3, 30 + 8 * value : 36 + 8 * value, 40:50] = value
    case_id = f"c{number}"
    return LabelledCase(case_id=case_id, patient_id=case_id, volume=volume, labels=labels)


@pytest.fixture
def dataset(tmp_path):
    dataset = create_dataset(tmp_path / "d", "mine")
    for number in range(3):
        write_case(dataset, labelled(number))
    return dataset


@pytest.fixture
def measured(monkeypatch):
    """Ids of the cases that were really measured."""
    ids, measure = [], run.measure_case

    def count(case, structures, config):
        ids.append(case.case_id)
        return measure(case, structures, config)

    monkeypatch.setattr(run, "measure_case", count)
    return ids


class TestMeasureDataset:
    def test_measures_only_what_is_new_or_changed(self, dataset, tmp_path, measured):
        first = list(measure_dataset(dataset, CONFIG, tmp_path / "cache"))
        write_case(dataset, labelled(1, level=5))

        second = list(measure_dataset(dataset, CONFIG, tmp_path / "cache"))

        assert measured == ["c0", "c1", "c2", "c1"]
        assert second[0] == first[0]
        assert second[1] != first[1]

    def test_goes_on_after_a_stop_in_the_middle_of_a_line(self, dataset, tmp_path, measured):
        cache = tmp_path / "cache"
        whole = list(measure_dataset(dataset, CONFIG, cache))
        cache.write_text(cache.read_text()[:-40])

        again = list(measure_dataset(dataset, CONFIG, cache))

        assert again == whole
        assert measured == ["c0", "c1", "c2", "c2"]
        assert list(measure_dataset(dataset, CONFIG, cache)) == whole

    def test_another_crop_is_measured_anew(self, dataset, tmp_path, measured):
        list(measure_dataset(dataset, CONFIG, tmp_path / "cache"))
        other = PreprocessingConfig(crop_size_px=32, pixel_spacing_mm=4.0)

        list(measure_dataset(dataset, other, tmp_path / "cache"))

        assert len(measured) == 6

    def test_several_processes_find_the_same(self, dataset, tmp_path):
        alone = list(measure_dataset(dataset, CONFIG, tmp_path / "one"))
        assert list(measure_dataset(dataset, CONFIG, tmp_path / "two", processes=2)) == alone


def test_the_report_is_for_programs_and_people(dataset, tmp_path):
    cases = list(measure_dataset(dataset, CONFIG, tmp_path / "cache"))

    write_fingerprint(describe_dataset(dataset, cases, CONFIG), tmp_path / "out")

    values = json.loads((tmp_path / "out" / "fingerprint.json").read_text())
    assert values["summary"]["cases"] == 3
    assert {flag["finding"] for flag in values["flags"]} == {
        "identical_slices",
        "implausible_volume",
    }
    text = (tmp_path / "out" / "fingerprint.md").read_text()
    assert "3 cases of 3 patients." in text
    assert "| Bladder volume_ml | 9.6 | 9.6 | 9.6 | 9.6 | 9.6 |" in text
    assert "| implausible_volume | c0 | structure CTV-N, value 9.6 |" in text
