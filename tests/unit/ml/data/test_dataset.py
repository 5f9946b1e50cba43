import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ml.data.dataset import (
    DatasetError,
    LabelledCase,
    case_sha256,
    create_dataset,
    discard_unfinished_cases,
    forget_cases,
    open_dataset,
    remove_case,
    write_case,
)
from ml.data.splits import split_patients
from ml.geometry import LEFT, POSTERIOR, Volume, VolumeGeometry


def labelled_case(case_id: str = "a", *, patient_id: str = "p", level: int = 40) -> LabelledCase:
    geometry = VolumeGeometry(
        rows=4,
        columns=5,
        pixel_spacing_mm=(1.5, 2.5),
        row_direction=LEFT,
        column_direction=POSTERIOR,
        slice_positions_mm=np.array([[-10.0, 5.0, z] for z in (-20.0, -17.0, -14.0)]),
    )
    labels = np.zeros(geometry.shape, np.uint8)
    labels[1, 2, 3] = 4
    hu = np.full(geometry.shape, level, np.int16)
    return LabelledCase(
        case_id=case_id,
        patient_id=patient_id,
        volume=Volume(hu=hu, geometry=geometry),
        labels=labels,
        source={"kind": "test"},
    )


class TestDataset:
    def test_a_case_comes_back_as_it_was(self, tmp_path):
        dataset = create_dataset(tmp_path / "d", "mine")
        case = labelled_case()
        facts = write_case(dataset, case)

        again = open_dataset(tmp_path / "d").read_case("a")

        np.testing.assert_array_equal(again.volume.hu, case.volume.hu)
        np.testing.assert_array_equal(again.labels, case.labels)
        np.testing.assert_array_equal(
            again.volume.geometry.slice_positions_mm, case.volume.geometry.slice_positions_mm
        )
        assert again.volume.geometry.pixel_spacing_mm == (1.5, 2.5)
        assert again.source == {"kind": "test"}
        assert facts.sha256 == case_sha256(again)

    def test_arrays_stay_on_disk_until_they_are_used(self, tmp_path):
        dataset = create_dataset(tmp_path / "d", "mine")
        write_case(dataset, labelled_case())

        assert isinstance(dataset.read_case("a").volume.hu, np.memmap)

    def test_the_hash_is_of_what_a_case_is_not_of_its_name(self):
        case = labelled_case()
        other_labels = replace(case, labels=np.zeros_like(case.labels))

        assert case_sha256(case) == case_sha256(labelled_case("b", patient_id="q"))
        assert case_sha256(case) != case_sha256(other_labels)
        assert case_sha256(case) != case_sha256(labelled_case(level=41))

    def test_a_case_is_replaced_as_a_whole(self, tmp_path):
        dataset = create_dataset(tmp_path / "d", "mine")
        write_case(dataset, labelled_case())

        write_case(dataset, labelled_case(level=90))

        assert int(dataset.read_case("a").volume.hu[0, 0, 0]) == 90
        assert [facts.case_id for facts in dataset.facts()] == ["a"]

    def test_half_a_case_is_none(self, tmp_path):
        dataset = create_dataset(tmp_path / "d", "mine")
        write_case(dataset, labelled_case())
        shutil.copytree(tmp_path / "d/cases/a", tmp_path / "d/cases/.b.part")
        (tmp_path / "d/cases/c").mkdir()

        assert [facts.case_id for facts in dataset.facts()] == ["a"]
        with pytest.raises(DatasetError, match="no case c"):
            dataset.read_case("c")

    def test_a_split_is_stored_with_its_seed(self, tmp_path):
        dataset = create_dataset(tmp_path / "d", "mine")
        for number in range(6):
            write_case(dataset, labelled_case(f"c{number}", patient_id=f"p{number // 2}"))
        split = split_patients(["p0", "p1", "p2"], seed=5, proportions=(1, 1, 1))

        dataset.with_split(split)

        again = open_dataset(tmp_path / "d")
        assert again.split == split
        assert len(again.case_ids(split.training)) == 2

    def test_a_folder_without_a_dataset_is_refused(self, tmp_path):
        with pytest.raises(DatasetError, match=r"no dataset\.json"):
            open_dataset(tmp_path)

    def test_another_format_is_refused(self, tmp_path):
        create_dataset(tmp_path, "mine")
        facts = json.loads((tmp_path / "dataset.json").read_text())
        (tmp_path / "dataset.json").write_text(json.dumps({**facts, "format": 9}))

        with pytest.raises(DatasetError, match="format 9"):
            open_dataset(tmp_path)


class TestRemoving:
    @pytest.fixture
    def dataset(self, tmp_path):
        dataset = create_dataset(tmp_path / "d", "mine")
        for case_id in ("a", "b", "c"):
            write_case(dataset, labelled_case(case_id))
        return dataset

    def ids(self, dataset):
        return [facts.case_id for facts in dataset.facts()]

    def test_a_case_is_gone_with_all_its_files(self, dataset):
        remove_case(dataset, "b")

        assert self.ids(dataset) == ["a", "c"]
        assert sorted(path.name for path in (dataset.folder / "cases").iterdir()) == ["a", "c"]

    def test_a_case_that_is_not_there_is_refused(self, dataset):
        with pytest.raises(DatasetError, match="no case d"):
            remove_case(dataset, "d")
        assert self.ids(dataset) == ["a", "b", "c"]

    def test_what_is_not_to_be_kept_is_forgotten_and_named(self, dataset):
        assert forget_cases(dataset, {"b", "elsewhere"}) == ["a", "c"]
        assert self.ids(dataset) == ["b"]
        assert forget_cases(dataset, ["b"]) == []

    @pytest.mark.parametrize(
        "change",
        [
            lambda dataset: remove_case(dataset, "b"),
            lambda dataset: write_case(dataset, labelled_case("b", level=90)),
        ],
        ids=["remove", "replace"],
    )
    def test_a_removal_that_was_stopped_leaves_no_half_of_a_case(
        self, dataset, monkeypatch, change
    ):
        remove = shutil.rmtree

        def remove_half(path, **options):
            if path.exists():
                (path / "hu.npy").unlink()
                raise KeyboardInterrupt
            remove(path, **options)

        monkeypatch.setattr(shutil, "rmtree", remove_half)
        with pytest.raises(KeyboardInterrupt):
            change(dataset)
        monkeypatch.undo()

        for case_id in self.ids(dataset):
            assert dataset.read_case(case_id).volume.hu.shape == (3, 4, 5)
        discard_unfinished_cases(dataset)
        assert sorted(p.name for p in (dataset.folder / "cases").iterdir()) == self.ids(dataset)
        write_case(dataset, labelled_case("b"))
        assert self.ids(dataset) == ["a", "b", "c"]
