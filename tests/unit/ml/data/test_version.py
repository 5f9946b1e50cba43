import dataclasses
import json
import shutil

import numpy as np
import pytest

from ml.config import PreprocessingConfig
from ml.data.cases import cache_cases
from ml.data.dataset import (
    Dataset,
    DatasetError,
    LabelledCase,
    create_dataset,
    open_dataset,
    remove_case,
    write_case,
)
from ml.data.slices import SliceSampler
from ml.data.splits import Split
from ml.data.version import PartFacts, ShownStructure, case_facts, describe_version
from ml.geometry import Volume
from tests.factories.volumes import make_body, make_geometry

SPLIT = Split(training=("p1", "p2"), validation=("p3",), test=("p4",), seed=3)


def labelled_case(case_id, patient_id, *, slices=4, shown=(1, 2, 3, 4), level=0) -> LabelledCase:
    """A case of 5 x 2 x 3 mm voxels; a structure n shows n voxels on each slice from the n-th."""
    geometry = make_geometry((slices, 8, 10), spacing_mm=(5.0, 2.0, 3.0))
    labels = np.zeros(geometry.shape, np.uint8)
    for number in shown:
        labels[number - 1 :, number, :number] = number
    hu = np.full(geometry.shape, level, np.int16)
    return LabelledCase(
        case_id=case_id,
        patient_id=patient_id,
        volume=Volume(hu=hu, geometry=geometry),
        labels=labels,
    )


CASES = (
    ("a1", "p1", 4, (1, 2)),
    ("a2", "p1", 6, (2,)),
    ("b", "p2", 5, ()),
    ("c", "p3", 4, (1, 2, 3, 4)),
    ("d", "p4", 7, (3,)),
    ("e", "undealt", 9, (4,)),
)
"""Case, patient, number of slices, and the structures that are shown."""


def make_dataset(folder, name="mine", cases=CASES, split: Split | None = SPLIT) -> Dataset:
    dataset = create_dataset(folder, name, split=split)
    for case_id, patient_id, slices, shown in cases:
        write_case(dataset, labelled_case(case_id, patient_id, slices=slices, shown=shown))
    return dataset


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return make_dataset(tmp_path / "d")


def content_of(dataset):
    return describe_version(dataset).content_sha256


class TestCaseFacts:
    def test_counts_slices_and_millilitres_of_every_structure(self, dataset):
        facts = case_facts(dataset, "a1")

        assert (facts.case_id, facts.patient_id) == ("a1", "p1")
        assert (facts.slices, facts.labelled_slices) == (4, 4)
        # voxels of 0.03 ml: 1 on each of 4 slices, 2 on each of 3
        assert facts.structures == {
            "CTV-N": ShownStructure(slices=4, volume_ml=0.12),
            "CTV-UV": ShownStructure(slices=3, volume_ml=0.18),
            "Bladder": ShownStructure(slices=0, volume_ml=0.0),
            "Rectum": ShownStructure(slices=0, volume_ml=0.0),
        }

    def test_a_case_that_is_not_there_is_refused(self, dataset):
        with pytest.raises(DatasetError, match="no case z"):
            case_facts(dataset, "z")


class TestDescribeVersion:
    def test_counts_what_every_part_holds(self, dataset):
        facts = describe_version(dataset)

        assert facts.parts == {
            "training": PartFacts(patients=2, cases=3, slices=15, labelled_slices=4 + 5),
            "validation": PartFacts(patients=1, cases=1, slices=4, labelled_slices=4),
            "test": PartFacts(patients=1, cases=1, slices=7, labelled_slices=5),
        }
        assert facts.total == PartFacts(patients=5, cases=6, slices=35, labelled_slices=24)
        assert facts.training_slices == 15

    def test_training_slices_are_those_of_an_epoch(self, tmp_path):
        dataset = create_dataset(tmp_path / "d", "mine", split=SPLIT)
        for number, patient in enumerate(("p1", "p2", "p3")):
            body = make_body(make_geometry((5 + number, 96, 96)))
            labels = np.zeros(body.hu.shape, np.uint8)
            labels[2:, 40:50, 40:50] = 3
            write_case(
                dataset,
                LabelledCase(case_id=patient, patient_id=patient, volume=body, labels=labels),
            )
        config = PreprocessingConfig(crop_size_px=64, pixel_spacing_mm=4.0)
        crops = cache_cases(dataset, dataset.case_ids(SPLIT.training), config, tmp_path / "crops")

        def draw(weight, count):
            generator = np.random.default_rng(0)
            sampler = SliceSampler(crops, empty_slice_weight=weight, generator=generator)
            return [pair for batch in sampler.draw_epoch(1, count) for pair in batch]

        facts = describe_version(dataset)

        # none twice: an epoch of one slice more would hold one again
        assert len(draw(1.0, None)) == len(set(draw(1.0, None))) == facts.training_slices == 11
        labelled = facts.parts["training"].labelled_slices
        assert len(set(draw(0.0, labelled))) == labelled == 7
        assert len(set(draw(0.0, labelled + 1))) <= labelled

    def test_counts_the_cases_that_show_a_structure(self, dataset):
        found = describe_version(dataset).structures

        assert list(found) == ["CTV-N", "CTV-UV", "Bladder", "Rectum"]
        assert [facts.cases for facts in found.values()] == [2, 3, 2, 2]
        assert [facts.parts["training"] for facts in found.values()] == [1, 2, 0, 0]
        assert [facts.parts["validation"] for facts in found.values()] == [1, 1, 1, 1]
        assert [facts.parts["test"] for facts in found.values()] == [0, 0, 1, 0]

    def test_what_no_training_case_shows_is_lacking(self, dataset):
        assert describe_version(dataset).lacking == ("Bladder", "Rectum")

    def test_without_a_split_what_no_case_shows_is_lacking(self, tmp_path):
        dataset = make_dataset(tmp_path / "d", cases=CASES[:2], split=None)

        facts = describe_version(dataset)

        assert facts.lacking == ("Bladder", "Rectum")
        assert facts.parts["training"] == PartFacts(
            patients=0, cases=0, slices=0, labelled_slices=0
        )
        assert facts.total.cases == 2

    def test_an_empty_dataset_has_facts(self, tmp_path):
        facts = describe_version(make_dataset(tmp_path / "d", cases=()))

        assert facts.training_slices == facts.total.slices == 0
        assert len(facts.lacking) == 4

    def test_labels_are_read_once(self, dataset, monkeypatch):
        read, opened = Dataset.read_case, []

        def read_and_note(self, case_id):
            opened.append(case_id)
            return read(self, case_id)

        monkeypatch.setattr(Dataset, "read_case", read_and_note)

        facts = describe_version(dataset)

        assert opened == [case.case_id for case in facts.cases] == [case[0] for case in CASES]

    def test_comes_back_from_json(self, dataset):
        facts = describe_version(dataset)

        values = json.loads(json.dumps(facts.to_dict()))

        assert values["content_sha256"] == facts.content_sha256
        assert values["parts"]["training"]["slices"] == 15
        assert values["structures"]["CTV-N"] == {
            "cases": 2,
            "parts": {"training": 1, "validation": 1, "test": 0},
        }
        assert values["lacking"] == ["Bladder", "Rectum"]
        assert values["cases"][0]["structures"]["CTV-N"] == {"slices": 4, "volume_ml": 0.12}


class TestContentHash:
    def test_is_that_of_the_same_content_elsewhere(self, dataset, tmp_path):
        shutil.copytree(dataset.folder, tmp_path / "copy")
        other = make_dataset(tmp_path / "other", name="another name", cases=CASES[::-1])

        assert content_of(dataset) == content_of(open_dataset(tmp_path / "copy"))
        assert content_of(dataset) == content_of(other)

    def test_how_the_parts_came_about_plays_no_part(self, dataset):
        before = content_of(dataset)
        turned = Split(
            training=("p2", "p1", "long gone"), validation=("p3",), test=("p4",), seed=99
        )

        assert content_of(dataset.with_split(turned)) == before

    @pytest.mark.parametrize(
        "change",
        [
            lambda d: d.with_split(dataclasses.replace(SPLIT, test=("p4", "undealt"))),
            lambda d: d.with_split(dataclasses.replace(SPLIT, validation=("p4",), test=("p3",))),
            lambda d: create_dataset(d.folder, d.name, split=None),
            lambda d: remove_case(d, "b"),
            lambda d: write_case(d, labelled_case("f", "p1")),
            lambda d: write_case(d, labelled_case("b", "p2", slices=5, shown=(1,))),
            lambda d: write_case(d, labelled_case("b", "p2", slices=5, shown=(), level=1)),
            lambda d: write_case(d, labelled_case("b", "p3", slices=5, shown=())),
        ],
        ids=["dealt", "moved", "no-split", "fewer", "more", "labels", "hu", "patient"],
    )
    def test_is_another_after_any_change(self, dataset, change):
        before = content_of(dataset)

        change(dataset)

        assert content_of(open_dataset(dataset.folder)) != before
