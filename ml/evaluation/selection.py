"""Postprocessing chosen on validation cases, one decision after the other.

The grids are coarse and small gains count for nothing, because a few dozen validation patients tell
no more. Everything happens on the crop's grid, so that no case is asked of the network twice and
none is resampled. Test cases have no place here.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml.arrays import CropLabelVolume
from ml.config import PostprocessingConfig
from ml.data.dataset import LabelledCase
from ml.inference.answer import Answer, answer_labels
from ml.inference.predictor import Predictor
from ml.metrics.overlap import dice
from ml.metrics.presence import measure_presence
from ml.structures import StructureSet

PLAIN_THRESHOLD = 0.5
"""The plain argmax."""
THRESHOLDS = (0.5, 0.4, 0.6, 0.3, 0.7)
"""Among equals the first is chosen, the one nearest to the plain argmax."""
PRESENCE_GATES = ((0.1, 0.5), (0.3, 0.5), (0.5, 0.5), (0.3, 0.7), (0.5, 0.7), (0.5, 0.9))
GAP_SLICES = (0, 1, 2)
PRESENCE_PENALTY = 0.25
"""Dice that counts as much as a wrong answer in all slices: .01 more slices in which a structure
appears or is missing wrongly must bring .0025 of Dice."""
ROUNDS = 2
MIN_GAIN = 1e-3
"""A choice that scores less than this above the one it would replace is not worth it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ValidationCase:
    """A network's answer to a case beside the truth, both on the crop's grid."""

    answer: Answer
    truth: CropLabelVolume


def validation_case(predictor: Predictor, case: LabelledCase) -> ValidationCase:
    """Ask the networks about a case.

    Raises:
        NotAxialError: the series is not axial.
    """
    answer = predictor.answer(case.volume)
    labels = answer.crop.alignment.to_lps(case.labels)
    return ValidationCase(answer=answer, truth=answer.crop.labels(labels))


def select_postprocessing(
    cases: Sequence[ValidationCase],
    structures: StructureSet,
    start: PostprocessingConfig | None = None,
) -> PostprocessingConfig:
    """Choose parts, thresholds, presence gate and gaps by the score of validation cases.

    Decisions depend on each other, so the round of them is made twice; the first starts from none
    of them. All that is not chosen, such as mirroring, stays as in `start`. Equal cases give equal
    choices.

    Args:
        cases: answers under the mirroring of `start`.
        structures: what the labels mean.
        start: None stands for the defaults.

    Raises:
        ValueError: no case.
    """
    config = replace(
        start or PostprocessingConfig(),
        drop_parts=False,
        fill_gap_slices=0,
        thresholds=(),
        presence_gate=None,
    )
    scorer = Scorer(cases, structures)
    for _ in range(ROUNDS):
        config = choose_drop_parts(scorer, config)
        config = choose_thresholds(scorer, config)
        config = choose_presence_gate(scorer, config)
        config = choose_gap_filling(scorer, config)
    return config


class Scorer:
    """Scores configurations on cases, each once."""

    def __init__(self, cases: Sequence[ValidationCase], structures: StructureSet) -> None:
        if not cases:
            raise ValueError("at least one validation case is needed")
        self.cases = cases
        self.structures = structures
        self._scores: dict[PostprocessingConfig, float] = {}

    @property
    def has_presence(self) -> bool:
        """Whether all answers say which slices show what."""
        return all(case.answer.presence is not None for case in self.cases)

    def score(self, config: PostprocessingConfig) -> float:
        """Return the mean Dice of the structures, less the penalty for wrong slices.

        The Dice of a structure is the mean over cases, but those that neither have nor show it.
        The penalty is PRESENCE_PENALTY times the share of slices, over cases and structures, in
        which a structure appears or is missing wrongly.
        """
        if config not in self._scores:
            self._scores[config] = self._measure(config)
        return self._scores[config]

    def best(
        self, config: PostprocessingConfig, others: Iterable[PostprocessingConfig]
    ) -> PostprocessingConfig:
        """Return the best of the others if it gains enough over config, else config."""
        winner = max(others, key=self.score)
        return winner if self.score(winner) > self.score(config) + MIN_GAIN else config

    def _measure(self, config: PostprocessingConfig) -> float:
        numbers = [s.number for s in self.structures.structures]
        overlap = np.full((len(self.cases), len(numbers)), math.nan)
        wrong = np.zeros_like(overlap)
        for row, case in enumerate(self.cases):
            labels = answer_labels(case.answer, self.structures, config)
            for column, number in enumerate(numbers):
                found, truth = labels == number, case.truth == number
                overlap[row, column] = dice(found, truth)
                wrong[row, column] = measure_presence(found, truth).errors / len(truth)
        known = overlap[:, ~np.isnan(overlap).all(axis=0)]
        return float(np.nanmean(known, axis=0).mean() - PRESENCE_PENALTY * wrong.mean())


def choose_drop_parts(scorer: Scorer, config: PostprocessingConfig) -> PostprocessingConfig:
    """Decide whether surplus parts are dropped."""
    return scorer.best(config, [replace(config, drop_parts=not config.drop_parts)])


def choose_thresholds(scorer: Scorer, config: PostprocessingConfig) -> PostprocessingConfig:
    """Decide the threshold of every structure in turn."""
    for index in range(len(scorer.structures.structures)):
        config = scorer.best(
            config, [_with_threshold(scorer, config, index, t) for t in THRESHOLDS]
        )
    return config


def choose_presence_gate(scorer: Scorer, config: PostprocessingConfig) -> PostprocessingConfig:
    """Decide whether and where the presence head removes structures."""
    if not scorer.has_presence:
        return config
    gates = (None, *PRESENCE_GATES)
    return scorer.best(config, [replace(config, presence_gate=gate) for gate in gates])


def choose_gap_filling(scorer: Scorer, config: PostprocessingConfig) -> PostprocessingConfig:
    """Decide how long gaps may be that are filled."""
    return scorer.best(config, [replace(config, fill_gap_slices=n) for n in GAP_SLICES])


def _with_threshold(
    scorer: Scorer, config: PostprocessingConfig, index: int, threshold: float
) -> PostprocessingConfig:
    plain = (PLAIN_THRESHOLD,) * len(scorer.structures.structures)
    thresholds = list(config.thresholds or plain)
    thresholds[index] = threshold
    chosen = tuple(thresholds)
    return replace(config, thresholds=() if chosen == plain else chosen)
