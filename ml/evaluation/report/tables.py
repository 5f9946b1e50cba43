"""A table as CSV and as Markdown, and how numbers are printed in one."""

import csv
import io
import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Printed cells.

    Raises:
        ValueError: a row that is longer or shorter than the header.
    """

    name: str
    """Of its files, without an ending."""
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    """What the cells mean."""

    def __post_init__(self) -> None:
        """Check that every row fits the header."""
        if any(len(row) != len(self.header) for row in self.rows):
            raise ValueError(f"{self.name}: a row does not fit its header")

    def to_csv(self) -> str:
        """Return header and rows, lines ended by a line feed."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(self.rows)
        return text.getvalue()

    def to_markdown(self) -> str:
        """Return a heading, the table and its note."""
        lines = [f"### {self.title}", "", _line(self.header)]
        lines.append("|" + " --- |" * len(self.header))
        lines += [_line(row) for row in self.rows]
        if self.note:
            lines += ["", self.note]
        return "\n".join(lines) + "\n"


def number(value: float, decimals: int) -> str:
    """Print a value; a dash for none."""
    if math.isnan(value):
        return "-"
    return f"{value:.{decimals}f}"


def with_spread(mean: float, sd: float, decimals: int) -> str:
    """Print a mean with its SD, which is left out where there is none."""
    if math.isnan(sd):
        return number(mean, decimals)
    return f"{number(mean, decimals)} ± {number(sd, decimals)}"


def with_interval(mean: float, low: float, high: float, decimals: int) -> str:
    """Print a mean with its interval, which is left out where there is none."""
    if math.isnan(low):
        return number(mean, decimals)
    return f"{number(mean, decimals)} [{number(low, decimals)}, {number(high, decimals)}]"


def p_value(p: float) -> str:
    """Print a probability; a dash for none."""
    if math.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
