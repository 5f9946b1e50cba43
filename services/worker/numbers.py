"""Numbers as rows have them."""

import math


def finite_or_none(value: float) -> float | None:
    """Return a value that json can hold; None for what is not a finite number."""
    return value if math.isfinite(value) else None


def number_or_none(value: float) -> float | None:
    """Return a value that a column can hold, infinity included; None for what is no number."""
    return None if math.isnan(value) else value
