import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.config import PostprocessingConfig, PreprocessingConfig
from ml.inference.answer import Answer, answer_labels, threshold_offsets
from ml.preprocessing.crop import Crop, plan_crop
from ml.structures import CERVIX
from tests.factories.volumes import make_body, make_geometry

BLADDER = CERVIX.get("Bladder").number


@pytest.fixture(scope="module")
def crop() -> Crop:
    volume = make_body(make_geometry((6, 48, 48), (5.0, 8.0, 8.0)))
    return plan_crop(volume, PreprocessingConfig(crop_size_px=32, pixel_spacing_mm=4.0))[0]


def bladder_answer(crop: Crop, probability: float, presence: list[float] | None = None) -> Answer:
    """Ten by ten pixels of bladder of that probability against background, in all six slices."""
    logits = np.zeros((6, 5, 32, 32), np.float16)
    logits[:, 1:] = -20.0
    odds = np.log(probability / (1 - probability))
    logits[:, BLADDER, 10:20, 10:20] = odds
    values = None
    if presence is not None:
        values = np.zeros((6, 4), np.float32)
        values[:, BLADDER - 1] = presence
    return Answer(logits=logits, presence=values, crop=crop)


def bladder_slices(labels: np.ndarray) -> list[int]:
    return [int((part == BLADDER).sum()) for part in labels]


class TestThresholds:
    def test_offsets_are_log_odds_and_background_has_none(self):
        config = PostprocessingConfig(thresholds=(0.5, 0.75, 0.2, 0.5))

        found = threshold_offsets(config)

        assert found is not None
        np.testing.assert_allclose(found, [0, 0, np.log(3), -np.log(4), 0], atol=1e-6)

    def test_none_is_the_plain_argmax(self):
        assert threshold_offsets(PostprocessingConfig()) is None

    @pytest.mark.parametrize(
        ("probability", "threshold", "count"),
        [(0.45, 0.5, 0), (0.45, 0.4, 100), (0.65, 0.7, 0), (0.65, 0.6, 100), (0.55, 0.5, 100)],
    )
    def test_pixels_belong_from_their_threshold_on(self, crop, probability, threshold, count):
        config = PostprocessingConfig(thresholds=(0.5, 0.5, threshold, 0.5))

        labels = answer_labels(bladder_answer(crop, probability), CERVIX, config)

        assert bladder_slices(labels) == [count] * 6

    @given(low=st.floats(0.1, 0.9), high=st.floats(0.1, 0.9), seed=st.integers(0, 50))
    def test_a_higher_threshold_never_adds_a_pixel(self, crop, low, high, seed):
        low, high = sorted((low, high))
        logits = np.random.default_rng(seed).normal(0, 3, (1, 5, 32, 32)).astype(np.float16)
        answer = Answer(logits=logits, presence=None, crop=crop)

        few, many = (
            answer_labels(
                answer,
                CERVIX,
                PostprocessingConfig(thresholds=(0.5, 0.5, t, 0.5), drop_parts=False),
            )
            for t in (high, low)
        )

        grown = (few == BLADDER) & (many != BLADDER)
        raw = logits.astype(np.float32).argmax(axis=1)
        # only a hole that is filled may hold a pixel that had been another class
        assert not (grown & (raw == BLADDER)).any()


class TestGate:
    def test_slices_without_presence_are_emptied(self, crop):
        answer = bladder_answer(crop, 0.9, [0.1, 0.4, 0.9, 0.4, 0.1, 0.4])
        config = PostprocessingConfig(presence_gate=(0.3, 0.7))

        assert bladder_slices(answer_labels(answer, CERVIX, config)) == [0, 100, 100, 100, 0, 0]

    def test_without_a_head_there_is_nothing_to_gate(self, crop):
        config = PostprocessingConfig(presence_gate=(0.3, 0.7))

        labels = answer_labels(bladder_answer(crop, 0.9), CERVIX, config)

        assert bladder_slices(labels) == [100] * 6


class TestOrder:
    def test_gaps_the_gate_leaves_are_filled(self, crop):
        answer = bladder_answer(crop, 0.9, [0.9, 0.9, 0.1, 0.9, 0.9, 0.9])
        config = PostprocessingConfig(presence_gate=(0.3, 0.7), fill_gap_slices=1)

        assert bladder_slices(answer_labels(answer, CERVIX, config)) == [100] * 6

    def test_the_grid_is_the_crops(self, crop):
        assert bladder_answer(crop, 0.9).spacing_mm == (5.0, 4.0, 4.0)
