"""One row per run, case and structure: what every table and figure is made of, and its CSV."""

import csv
import dataclasses
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ml.whole_files import written_whole


class RowsError(ValueError):
    """A file does not hold the rows of an evaluation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLabel:
    """Which run, and which cases of it, rows belong to."""

    run: str = ""
    """Name of a configuration; its repetitions differ in the seed."""
    seed: int = 0
    part: str = "test"
    """Cases that are reported together, such as `test` or `metal-hip`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseScore:
    """How well one structure of one case was found; conventions of ml.metrics.

    Where both masks are empty measures are nan; where one is, overlaps are 0 and distances inf.
    """

    run: str
    seed: int
    part: str
    case: str
    patient: str
    structure: str
    dice: float
    background_dice: float
    """Of the label 0 over the whole CT; equal for all structures of a case."""
    prediction_ml: float
    reference_ml: float
    hd95_mm: float
    """The larger of the directed 95th percentiles in 3-D: the primary one."""
    hd95_pooled_mm: float
    hd100_mm: float
    hd_equation7_mm: float
    """The paper's equation 7 as it is printed."""
    assd_mm: float
    surface_dice_1mm: float
    surface_dice_2mm: float
    surface_dice_3mm: float
    slice_dice: float
    slice_dice_both_empty_1: float
    slice_hd95_mm: float
    slices_with_both: int
    """Slices behind slice_hd95_mm."""
    true_positive_slices: int
    false_positive_slices: int
    false_negative_slices: int
    true_negative_slices: int
    superior_end_error_slices: float
    """Positive reaches too far up."""
    inferior_end_error_slices: float
    """Positive stops too high."""
    slice_spacing_mm: float
    extent_diagonal_mm: float
    """Of the whole CT: stands for an infinite distance in penalised means."""

    @property
    def volume_error_ml(self) -> float:
        """Predicted minus true volume."""
        return self.prediction_ml - self.reference_ml

    @property
    def presence_error_slices(self) -> int:
        """Slices in which the structure appears or is missing wrongly."""
        return self.false_positive_slices + self.false_negative_slices

    @property
    def reference_is_empty(self) -> bool:
        """Tell whether the structure is nowhere in the truth."""
        return self.true_positive_slices + self.false_negative_slices == 0

    @property
    def prediction_is_empty(self) -> bool:
        """Tell whether the structure was found nowhere."""
        return self.true_positive_slices + self.false_positive_slices == 0

    @property
    def is_missed(self) -> bool:
        """Tell whether the structure exists and was not found."""
        return self.prediction_is_empty and not self.reference_is_empty

    @property
    def is_hallucinated(self) -> bool:
        """Tell whether the structure was found and does not exist."""
        return self.reference_is_empty and not self.prediction_is_empty

    @property
    def is_absent(self) -> bool:
        """Tell whether the structure neither exists nor was found."""
        return self.reference_is_empty and self.prediction_is_empty


def write_rows(path: Path, rows: Iterable[CaseScore]) -> None:
    """Write rows as CSV; every float survives to its last bit, inf and nan included."""
    with (
        written_whole(path) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(column_names())
        writer.writerows(dataclasses.astuple(row) for row in rows)


def read_rows(path: Path) -> list[CaseScore]:
    """Read what write_rows wrote; further columns are passed over.

    Raises:
        RowsError: a column is missing, or a cell is not of its column's type.
    """
    types = typing.get_type_hints(CaseScore)
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in column_names() if name not in (reader.fieldnames or ())]
        if missing:
            raise RowsError(f"{path} lacks the columns {', '.join(missing)}")
        rows = []
        for cells in reader:
            try:
                values = {name: types[name](cells[name]) for name in column_names()}
            except (ValueError, TypeError) as error:
                raise RowsError(f"{path}, line {reader.line_num}: {error}") from error
            rows.append(CaseScore(**values))
    return rows


def column_names() -> list[str]:
    """Return the columns in the order of the file."""
    return [field.name for field in dataclasses.fields(CaseScore)]
