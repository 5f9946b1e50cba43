import numpy as np
import pytest

from ml.config import PostprocessingConfig, PreprocessingConfig
from ml.data.dataset import LabelledCase
from ml.evaluation.selection import (
    PRESENCE_PENALTY,
    Scorer,
    ValidationCase,
    choose_gap_filling,
    choose_presence_gate,
    choose_thresholds,
    select_postprocessing,
    validation_case,
)
from ml.inference.answer import Answer
from ml.inference.predictor import Predictor
from ml.preprocessing.crop import Crop, plan_crop
from ml.structures import CERVIX
from tests.factories.checkpoints import make_checkpoint
from tests.factories.volumes import make_body, make_geometry, possible_alignments, turned

SLICES = 10
BLADDER = CERVIX.get("Bladder").number
RECTUM = CERVIX.get("Rectum").number
PLAIN = PostprocessingConfig(drop_parts=False)


@pytest.fixture(scope="module")
def crop() -> Crop:
    volume = make_body(make_geometry((SLICES, 48, 48), (5.0, 8.0, 8.0)))
    return plan_crop(volume, PreprocessingConfig(crop_size_px=64, pixel_spacing_mm=4.0))[0]


@pytest.fixture
def truth() -> np.ndarray:
    labels = np.zeros((SLICES, 64, 64), np.uint8)
    labels[2:8, 10:30, 10:30] = BLADDER
    labels[1:9, 40:50, 20:30] = RECTUM
    return labels


def sure_of(labels: np.ndarray) -> np.ndarray:
    """Logits that leave no doubt about labels."""
    return np.where(np.arange(5)[:, None, None] == labels[:, None], 8.0, -8.0).astype(np.float16)


def case_of(
    crop: Crop, truth: np.ndarray, logits: np.ndarray, presence: np.ndarray | None = None
) -> ValidationCase:
    return ValidationCase(answer=Answer(logits=logits, presence=presence, crop=crop), truth=truth)


def selected(*cases: ValidationCase) -> PostprocessingConfig:
    return select_postprocessing(cases, CERVIX)


class TestScore:
    def test_a_perfect_answer_scores_one(self, crop, truth):
        scorer = Scorer([case_of(crop, truth, sure_of(truth))], CERVIX)

        assert scorer.score(PLAIN) == 1.0

    def test_dice_less_the_share_of_wrong_slices(self, crop, truth):
        found = truth.copy()
        found[2:4][found[2:4] == BLADDER] = 0
        scorer = Scorer([case_of(crop, truth, sure_of(found))], CERVIX)

        # four of six slices: Dice .8; two wrong slices of ten in one of four structures
        by_hand = (2 * 4 / (4 + 6) + 1) / 2 - PRESENCE_PENALTY * 2 / 10 / 4
        assert scorer.score(PLAIN) == pytest.approx(by_hand)

    def test_structures_are_averaged_over_cases_before_each_other(self, crop, truth):
        without_bladder = np.where(truth == BLADDER, 0, truth)
        lost_rectum = np.where(truth == RECTUM, 0, truth)
        cases = [
            case_of(crop, truth, sure_of(truth)),
            case_of(crop, without_bladder, sure_of(without_bladder)),
            case_of(crop, truth, sure_of(lost_rectum)),
        ]

        # bladder: 1, left out, 1; rectum: 1, 1, 0; eight wrong slices in one of twelve cells
        by_hand = (1 + 2 / 3) / 2 - PRESENCE_PENALTY * 8 / 10 / 12
        assert Scorer(cases, CERVIX).score(PLAIN) == pytest.approx(by_hand)

    def test_no_case_is_refused(self):
        with pytest.raises(ValueError, match="at least one"):
            Scorer([], CERVIX)


class TestChoices:
    def test_what_cannot_be_improved_is_left_alone(self, crop, truth):
        assert selected(case_of(crop, truth, sure_of(truth))) == PLAIN

    def test_surplus_parts_are_dropped_where_there_are_some(self, crop, truth):
        found = truth.copy()
        found[2:8, 50:60, 50:60] = BLADDER

        assert selected(case_of(crop, truth, sure_of(found))).drop_parts

    def test_true_second_parts_keep_all_parts(self, crop, truth):
        truth[2:8, 50:62, 50:62] = BLADDER

        assert not selected(case_of(crop, truth, sure_of(truth))).drop_parts

    @pytest.mark.parametrize(("probability", "threshold"), [(0.44, 0.4), (0.33, 0.3)])
    def test_a_shy_bladder_gets_a_low_threshold(self, crop, truth, probability, threshold):
        logits = sure_of(truth)
        is_bladder = truth == BLADDER
        logits[:, 0][is_bladder] = 0.0
        logits[:, BLADDER][is_bladder] = np.log(probability / (1 - probability))

        chosen = choose_thresholds(Scorer([case_of(crop, truth, logits)], CERVIX), PLAIN)

        assert chosen.thresholds == (0.5, 0.5, threshold, 0.5)

    def test_a_bold_rectum_gets_a_high_threshold(self, crop, truth):
        logits = sure_of(truth)
        logits[:, 0, 50:60, 20:30] = 0.0
        logits[:, RECTUM, 50:60, 20:30] = np.log(0.65 / 0.35)

        assert selected(case_of(crop, truth, logits)).thresholds == (0.5, 0.5, 0.5, 0.7)

    def test_slices_without_presence_call_for_a_gate(self, crop, truth):
        found = truth.copy()
        found[8:, 10:30, 10:30] = BLADDER
        shown = [[(part == s.number).any() for s in CERVIX.structures] for part in truth]
        presence = np.where(shown, 0.95, 0.05).astype(np.float32)
        scorer = Scorer([case_of(crop, truth, sure_of(found), presence)], CERVIX)

        chosen = choose_presence_gate(scorer, PLAIN)

        assert chosen.presence_gate is not None
        assert scorer.score(chosen) == 1.0

    def test_misleading_presence_is_ignored(self, crop, truth):
        presence = np.full((SLICES, 4), 0.05, np.float32)

        assert selected(case_of(crop, truth, sure_of(truth), presence)).presence_gate is None

    def test_a_gate_needs_presence_of_all_cases(self, crop, truth):
        presence = np.zeros((SLICES, 4), np.float32)
        cases = [
            case_of(crop, truth, sure_of(truth), presence),
            case_of(crop, truth, sure_of(truth)),
        ]

        assert not Scorer(cases, CERVIX).has_presence
        assert selected(*cases).presence_gate is None

    @pytest.mark.parametrize("gap", [1, 2])
    def test_gaps_are_filled_as_far_as_they_are_wrong(self, crop, truth, gap):
        found = truth.copy()
        found[4 : 4 + gap][found[4 : 4 + gap] == BLADDER] = 0
        scorer = Scorer([case_of(crop, truth, sure_of(found))], CERVIX)

        assert choose_gap_filling(scorer, PLAIN).fill_gap_slices == gap

    def test_a_tiny_gain_is_not_worth_a_choice(self, crop, truth):
        found = truth.copy()
        found[3, 60, 60] = BLADDER

        assert selected(case_of(crop, truth, sure_of(found))) == PLAIN

    def test_what_is_not_chosen_here_stays(self, crop, truth):
        start = PostprocessingConfig(flip=True, fill_gap_slices=2, thresholds=(0.6,) * 4)

        chosen = select_postprocessing([case_of(crop, truth, sure_of(truth))], CERVIX, start)

        assert chosen == PostprocessingConfig(flip=True, drop_parts=False)

    def test_equal_cases_give_equal_choices(self, crop, truth):
        rng = np.random.default_rng(0)
        logits = (sure_of(truth) / 4 + rng.normal(0, 2, (SLICES, 5, 64, 64))).astype(np.float16)
        case = case_of(crop, truth, logits)

        assert selected(case) == selected(case)


class TestValidationCase:
    @pytest.mark.parametrize("alignment", [possible_alignments()[0], possible_alignments()[7]])
    def test_truth_and_answer_lie_on_one_grid_in_any_orientation(self, alignment):
        volume = make_body(make_geometry((6, 90, 80), (5.0, 4.0, 4.5)))
        labels = np.zeros(volume.hu.shape, np.uint8)
        labels[4:, 30:50, 20:40] = BLADDER
        case = LabelledCase(
            case_id="a",
            patient_id="p",
            volume=turned(volume, alignment),
            labels=np.ascontiguousarray(alignment.from_lps(labels)),
        )

        found = validation_case(Predictor(make_checkpoint()), case)

        assert found.truth.shape == (6, 64, 64)
        assert found.answer.logits.shape == (6, 5, 64, 64)
        assert found.truth.any(axis=(1, 2)).tolist() == [False] * 4 + [True] * 2
        expected = found.answer.crop.labels(labels)
        assert np.mean(found.truth != expected) < 0.01
