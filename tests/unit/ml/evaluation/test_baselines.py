import dataclasses
import math

import numpy as np
import pytest

from ml.config import PreprocessingConfig
from ml.data.dataset import LabelledCase
from ml.evaluation.baselines import (
    INTENSITY,
    NEAREST,
    POSITION,
    best_dice_share,
    fit_baselines,
)
from ml.geometry import Volume
from ml.metrics.overlap import dice
from ml.structures import CERVIX
from tests.factories.volumes import (
    axes_mm,
    make_body,
    make_geometry,
    possible_alignments,
    turned,
)

CONFIG = PreprocessingConfig(crop_size_px=64, pixel_spacing_mm=4.0)
BLADDER, RECTUM = 3, 4
BLADDER_HU = -20


def make_patient(
    number: int, shift_mm: float = 0.0, radius_mm: float = 30.0, first_z: float = 0.0
) -> LabelledCase:
    """Make a body with a dark bladder in the scan's middle and a rectum nobody can see."""
    geometry = make_geometry((16, 96, 96), first_mm=(-190.0 + shift_mm, -190.0, first_z))
    volume = make_body(geometry, center_mm=(shift_mm, 0.0))
    z, y, x = axes_mm(geometry)
    z = z - geometry.slice_positions_mm[:, 2].mean()
    labels = np.zeros(geometry.shape, np.uint8)
    for label, row in ((BLADDER, -40), (RECTUM, 50)):
        inside = np.hypot(x - shift_mm, y - row) <= radius_mm
        labels[inside & (np.abs(z) <= 20)] = label
    hu = np.where(labels == BLADDER, BLADDER_HU, volume.hu).astype(np.int16)
    name = f"case-{number}"
    return LabelledCase(
        case_id=name,
        patient_id=name,
        volume=Volume(hu=hu, geometry=geometry),
        labels=labels,
    )


@pytest.fixture(scope="module")
def fitted() -> dict:
    cases = [make_patient(0), make_patient(1, radius_mm=26.0), make_patient(2, radius_mm=50.0)]
    return fit_baselines(cases, CONFIG, CERVIX)


def scores(case: LabelledCase, labels: np.ndarray) -> tuple[float, float]:
    assert labels.shape == case.labels.shape
    bladder, rectum = (dice(labels == n, case.labels == n) for n in (BLADDER, RECTUM))
    return bladder, rectum


class TestBestDiceShare:
    def test_certain_cells_alone_are_taken(self):
        # Dice 2 x 8 / (12 + 8) against 2 x 12 / (12 + 48) with the uncertain ones
        hits, counts = np.array([4.0, 4.0, 4.0]), np.array([4.0, 4.0, 40.0])

        assert best_dice_share(hits, counts) == 1

    def test_likely_cells_are_added(self):
        # 2 x 4 / (6 + 4) = .8 against 2 x 6 / (6 + 8) = .857
        assert best_dice_share(np.array([4.0, 2.0]), np.array([4.0, 4.0])) == 0.5

    def test_the_threshold_is_never_above_half_the_best_dice(self):
        generator = np.random.default_rng(0)
        counts = np.full(500, 10.0)
        hits = generator.integers(0, 11, 500).astype(float)

        share = best_dice_share(hits, counts)

        taken = hits / counts >= share
        best = 2 * hits[taken].sum() / (hits.sum() + counts[taken].sum())
        # the next smaller share would have lowered it: theory puts the border at half the Dice
        assert share >= best / 2 > share - 0.1

    def test_without_a_hit_nothing_is_taken(self):
        assert best_dice_share(np.zeros(3), np.ones(3)) == math.inf


class TestPositionAtlas:
    def test_a_patient_built_alike_is_found_wherever_the_body_lies(self, fitted):
        case = make_patient(9, shift_mm=24.0, first_z=300.0)

        bladder, rectum = scores(case, fitted[POSITION](case.volume))

        assert bladder > 0.85
        assert rectum > 0.85

    def test_hu_inside_the_body_play_no_part(self, fitted):
        case = make_patient(9)
        hu = np.where(case.labels == BLADDER, np.int16(200), case.volume.hu)

        changed = fitted[POSITION](Volume(hu=hu, geometry=case.volume.geometry))

        np.testing.assert_array_equal(changed, fitted[POSITION](case.volume))

    def test_slices_no_training_case_had_stay_empty(self, fitted):
        geometry = make_geometry((60, 96, 96))

        labels = fitted[POSITION](make_body(geometry))

        assert not labels[:20].any()
        assert labels[20:40].any()


class TestIntensityThreshold:
    def test_what_has_its_own_hu_is_found_and_the_rest_is_not(self, fitted):
        case = make_patient(9, shift_mm=24.0)

        bladder, rectum = scores(case, fitted[INTENSITY](case.volume))

        assert bladder > 0.95
        assert rectum < 0.2


class TestNearestCase:
    def test_the_case_that_looks_alike_is_copied(self, fitted):
        case = make_patient(9, radius_mm=50.0)

        bladder, rectum = scores(case, fitted[NEAREST](case.volume))

        assert bladder == rectum == 1

    def test_slices_beyond_the_copied_scan_stay_empty(self, fitted):
        labels = fitted[NEAREST](make_body(make_geometry((60, 96, 96))))

        assert not labels[:20].any()
        assert labels[25:35].any()


class TestAll:
    @pytest.mark.parametrize("name", [POSITION, INTENSITY, NEAREST])
    def test_labels_follow_the_series_own_order(self, fitted, name):
        case = make_patient(9, shift_mm=24.0)
        alignment = possible_alignments()[3]

        labels = fitted[name](turned(case.volume, alignment))

        upright = fitted[name](case.volume)
        np.testing.assert_array_equal(np.asarray(alignment.to_lps(labels)), upright)

    def test_training_order_plays_no_part(self, fitted):
        cases = [make_patient(2, radius_mm=50.0), make_patient(1, radius_mm=26.0), make_patient(0)]
        volume = make_patient(9, radius_mm=40.0).volume

        turned_round = fit_baselines(cases, CONFIG, CERVIX)

        for name, predict in fitted.items():
            np.testing.assert_array_equal(turned_round[name](volume), predict(volume))

    def test_labels_of_the_test_case_are_not_needed(self, fitted):
        case = make_patient(9)
        blank = dataclasses.replace(case, labels=np.zeros_like(case.labels))

        for predict in fitted.values():
            assert predict(blank.volume).any()

    def test_without_a_case_nothing_is_learnt(self):
        with pytest.raises(ValueError, match="training case"):
            fit_baselines([], CONFIG, CERVIX)
