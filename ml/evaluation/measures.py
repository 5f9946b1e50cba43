"""The measures tables and figures are made of, and how rows are picked and grouped for them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ml.evaluation.rows import CaseScore


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """A number every row has."""

    column: str
    """Attribute of CaseScore."""
    title: str
    larger_is_better: bool
    unit: str = ""
    decimals: int = 3

    @property
    def heading(self) -> str:
        """Title with unit, for tables and axes."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def value(self, row: CaseScore) -> float:
        """Return a row's value: nan where it has none, inf for a distance to nothing."""
        return float(getattr(row, self.column))

    def penalised(self, row: CaseScore) -> float:
        """Return a row's value with the image's diagonal for an infinite distance."""
        value = self.value(row)
        return row.extent_diagonal_mm if math.isinf(value) else value


DSC = Measure(column="dice", title="DSC", larger_is_better=True)
HD95 = Measure(column="hd95_mm", title="95HD", larger_is_better=False, unit="mm")
SLICE_DSC = Measure(column="slice_dice", title="2-D DSC", larger_is_better=True)
SLICE_HD95 = Measure(column="slice_hd95_mm", title="2-D 95HD", larger_is_better=False, unit="mm")
SLICE_DSC_BOTH_EMPTY_1 = Measure(
    column="slice_dice_both_empty_1", title="2-D DSC, both empty 1", larger_is_better=True
)
SURFACE_DICE = Measure(
    column="surface_dice_2mm", title="Surface Dice at 2 mm", larger_is_better=True
)
ASSD = Measure(column="assd_mm", title="ASSD", larger_is_better=False, unit="mm")
PRESENCE_ERRORS = Measure(
    column="presence_error_slices",
    title="Presence errors",
    larger_is_better=False,
    unit="slices",
    decimals=2,
)
SUPERIOR_END_ERROR = Measure(
    column="superior_end_error_slices",
    title="Superior end error",
    larger_is_better=False,
    unit="slices",
    decimals=2,
)
INFERIOR_END_ERROR = Measure(
    column="inferior_end_error_slices",
    title="Inferior end error",
    larger_is_better=False,
    unit="slices",
    decimals=2,
)
VOLUME_ERROR = Measure(
    column="volume_error_ml", title="Volume error", larger_is_better=False, unit="ml", decimals=1
)
ALL_MEASURES = (
    DSC,
    HD95,
    SURFACE_DICE,
    ASSD,
    SLICE_DSC,
    SLICE_HD95,
    PRESENCE_ERRORS,
    SUPERIOR_END_ERROR,
    INFERIOR_END_ERROR,
    VOLUME_ERROR,
)
"""What the tables of statistics list."""


def select(
    rows: Iterable[CaseScore],
    *,
    run: str | None = None,
    part: str | None = None,
    structure: str | None = None,
) -> list[CaseScore]:
    """Return the rows that match all that is given."""
    return [
        row
        for row in rows
        if (run is None or row.run == run)
        and (part is None or row.part == part)
        and (structure is None or row.structure == structure)
    ]


def structures_of(rows: Iterable[CaseScore]) -> list[str]:
    """Return the structures in the order in which they occur first."""
    return list(dict.fromkeys(row.structure for row in rows))


def mean_of_finite(values: Sequence[float]) -> float:
    """Return the mean of what is finite, nan if nothing is."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def mean_over_structures(
    rows: Sequence[CaseScore], measure: Measure, *, penalised: bool = False
) -> float:
    """Return the plain mean over structures of their means over rows: mDSC and mHD.

    Args:
        rows: of one run and part; several seeds are averaged as further rows.
        measure: what to average.
        penalised: count the image's diagonal for an infinite distance instead of passing it over.
    """
    of = measure.penalised if penalised else measure.value
    return mean_of_finite(
        [
            mean_of_finite([of(row) for row in select(rows, structure=name)])
            for name in structures_of(rows)
        ]
    )
