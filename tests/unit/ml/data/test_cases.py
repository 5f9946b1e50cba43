import dataclasses

import numpy as np
import pytest

from ml.arrays import LabelVolume
from ml.config import PAPER_WINDOW, WIDE_WINDOW, PreprocessingConfig
from ml.data.cases import cache_case, cache_cases, crop_hash, open_case
from ml.data.dataset import Dataset, DatasetError, LabelledCase, create_dataset, write_case
from ml.preprocessing.crop import plan_crop
from tests.factories.volumes import make_body, make_geometry

CONFIG = PreprocessingConfig(crop_size_px=64, pixel_spacing_mm=3.0)


def make_labelled(case_id: str = "c1", seed: int = 0) -> LabelledCase:
    volume = make_body(make_geometry(), center_mm=(8.0, 3.0))
    volume.hu[:] += np.random.default_rng(seed).integers(-90, 90, volume.hu.shape, np.int16)
    labels: LabelVolume = np.zeros(volume.hu.shape, np.uint8)
    labels[2:5, 40:50, 40:60] = 3
    return LabelledCase(case_id=case_id, patient_id="p1", volume=volume, labels=labels)


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    made = create_dataset(tmp_path / "dataset", "tiny")
    for number in range(2):
        write_case(made, make_labelled(f"c{number}", number))
    return made


class TestCacheCase:
    def test_the_cache_holds_what_inference_would_see(self, tmp_path):
        labelled = make_labelled()

        case = cache_case(labelled, CONFIG, tmp_path)

        crop, _ = plan_crop(labelled.volume, CONFIG)
        np.testing.assert_allclose(case.hu, crop.guarded_hu(labelled.volume.hu), atol=0.5 + 1e-3)
        np.testing.assert_array_equal(case.labels, crop.labels(labelled.labels))
        assert (case.case_id, case.patient_id) == ("c1", "p1")
        assert case.spacing_mm == (5.0, 3.0, 3.0)
        assert isinstance(case.hu, np.memmap)

    def test_a_wide_window_keeps_single_hounsfield_units(self, tmp_path):
        config = dataclasses.replace(CONFIG, windows=(PAPER_WINDOW, WIDE_WINDOW))
        labelled = make_labelled()
        labelled.volume.hu[3] = np.clip(labelled.volume.hu[3], -1024, None) // 2 + 700

        case = cache_case(labelled, config, tmp_path)

        crop, _ = plan_crop(labelled.volume, config)
        np.testing.assert_allclose(case.hu, crop.guarded_hu(labelled.volume.hu), atol=0.5 + 1e-3)

    def test_labels_beyond_the_crop_are_counted(self, tmp_path):
        labelled = make_labelled()
        labelled.labels[:] = 0
        labelled.labels[3, 50, :5] = 1
        labelled.labels[3, 50, 48] = 1

        assert cache_case(labelled, CONFIG, tmp_path).lost_label_voxels == 5

    def test_a_changed_case_is_cropped_again(self, tmp_path):
        cache_case(make_labelled(), CONFIG, tmp_path)
        changed = make_labelled()
        changed.labels[2:5, 40:50, 40:60] = 1

        case = cache_case(changed, CONFIG, tmp_path)

        assert set(np.unique(case.labels)) == {0, 1}

    def test_an_equal_case_is_not_cropped_again(self, tmp_path):
        cache_case(make_labelled(), CONFIG, tmp_path)
        path = tmp_path / crop_hash(CONFIG) / "c1" / "hu.npy"
        before = path.stat().st_mtime_ns

        cache_case(make_labelled(), CONFIG, tmp_path)

        assert path.stat().st_mtime_ns == before

    def test_no_half_written_folder_remains(self, tmp_path):
        cache_case(make_labelled(), CONFIG, tmp_path)

        assert [p.name for p in (tmp_path / crop_hash(CONFIG)).iterdir()] == ["c1"]


class TestCropHash:
    def test_context_plays_no_part(self):
        assert crop_hash(CONFIG) == crop_hash(dataclasses.replace(CONFIG, context_mm=(-5.0, 0.0)))

    @pytest.mark.parametrize(
        "change",
        [{"crop_size_px": 96}, {"pixel_spacing_mm": 2.0}, {"windows": (PAPER_WINDOW, WIDE_WINDOW)}],
    )
    def test_size_spacing_and_guard_range_decide(self, change):
        assert crop_hash(CONFIG) != crop_hash(dataclasses.replace(CONFIG, **change))


class TestCacheCases:
    def test_cases_come_in_the_order_asked_for(self, dataset, tmp_path):
        cases = cache_cases(dataset, ["c1", "c0"], CONFIG, tmp_path / "crops")

        assert [case.case_id for case in cases] == ["c1", "c0"]
        alone = open_case(tmp_path / "crops" / crop_hash(CONFIG) / "c0")
        np.testing.assert_array_equal(cases[1].hu, alone.hu)

    def test_processes_make_the_same(self, dataset, tmp_path):
        alone = cache_cases(dataset, ["c0", "c1"], CONFIG, tmp_path / "alone")

        pooled = cache_cases(dataset, ["c0", "c1"], CONFIG, tmp_path / "pooled", processes=2)

        for first, second in zip(alone, pooled, strict=True):
            np.testing.assert_array_equal(first.hu, second.hu)
            np.testing.assert_array_equal(first.labels, second.labels)

    def test_a_case_replaced_in_the_dataset_is_cropped_again(self, dataset, tmp_path):
        before = cache_cases(dataset, ["c0"], CONFIG, tmp_path / "crops")[0].source_sha256
        facts = write_case(dataset, make_labelled("c0", seed=5))

        after = cache_cases(dataset, ["c0"], CONFIG, tmp_path / "crops")[0].source_sha256

        assert after == facts.sha256 != before

    def test_a_case_the_dataset_lacks_is_named(self, dataset, tmp_path):
        with pytest.raises(DatasetError, match="no case c7"):
            cache_cases(dataset, ["c0", "c7"], CONFIG, tmp_path)

    def test_only_crops_that_were_missing_are_heard_of(self, dataset, tmp_path):
        heard = []
        cache_cases(dataset, ["c0"], CONFIG, tmp_path)

        for case_ids in (["c0", "c1"], ["c0", "c1"]):
            cache_cases(dataset, case_ids, CONFIG, tmp_path, on_made=lambda *n: heard.append(n))

        assert heard == [(1, 1)]

    def test_who_hears_of_a_crop_may_stop_before_the_next(self, dataset, tmp_path):
        def stop(made, missing):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cache_cases(dataset, ["c0", "c1"], CONFIG, tmp_path, on_made=stop)

        made = tmp_path / crop_hash(CONFIG)
        assert [path.name for path in made.iterdir()] == ["c0"]
