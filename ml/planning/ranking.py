"""Which configuration of an experiment did best on the validation cases."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOutcome:
    """What a finished or failed run came to on its validation cases."""

    label: str
    seed: int
    validation_loss: float
    validation_dice: Mapping[str, float]
    """Mean over patients by structure, of the weights that were kept."""
    epochs: int
    failure: str | None = None
    """Why the run has no weights, or None."""
    failure_code: str | None = None
    """The same as a word that stays the same, such as non_finite_loss."""

    @property
    def mean_dice(self) -> float:
        """Mean over structures; not a number for a failed run."""
        values = [v for v in self.validation_dice.values() if not math.isnan(v)]
        return statistics.fmean(values) if values and self.failure is None else math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class Rank:
    """A configuration's place, over all of its seeds."""

    place: int
    """From 1; configurations of which no run succeeded come last."""
    label: str
    mean_dice: float
    """Mean over seeds of the mean over structures."""
    spread: float
    """Largest less smallest over seeds: what the seed alone is worth."""
    succeeded: int
    failed: int


def rank(outcomes: Sequence[RunOutcome]) -> list[Rank]:
    """Order configurations by validation Dice; ties keep the order of the plan.

    Losses are not compared: runs of a loss comparison measure them in different units.
    """
    labels = list(dict.fromkeys(outcome.label for outcome in outcomes))
    groups = [[o for o in outcomes if o.label == label] for label in labels]
    ordered = sorted(groups, key=_order)
    return [_rank(place, group) for place, group in enumerate(ordered, start=1)]


def _order(group: Sequence[RunOutcome]) -> tuple[bool, float]:
    values = _succeeded(group)
    return (not values, -statistics.fmean(values) if values else 0.0)


def _rank(place: int, group: Sequence[RunOutcome]) -> Rank:
    values = _succeeded(group)
    return Rank(
        place=place,
        label=group[0].label,
        mean_dice=statistics.fmean(values) if values else math.nan,
        spread=max(values) - min(values) if values else math.nan,
        succeeded=len(values),
        failed=len(group) - len(values),
    )


def _succeeded(group: Sequence[RunOutcome]) -> list[float]:
    return [o.mean_dice for o in group if not math.isnan(o.mean_dice)]
