"""What all measurement files are made of: times, bounded noise, curves, and the statistics of the ground truth.

Only + - * / and sqrt, which IEEE 754 rounds alike everywhere, but for one rounded figure in radio.py: `random.gauss`,
`exp` or `log` of two C libraries may differ in the last digit, and so might a rounded value. Sums are `math.fsum`: the
built-in `sum` of floats is compensated from Python 3.12 on and not before.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

Row = dict[str, Any]

MONDAY = datetime(2024, 3, 4)
"""UTC: where the files of a week begin."""
HOUR = datetime(2024, 3, 5, 8)
"""UTC: where the files of one hour begin, the hour of the routing scenarios."""
SITES = ("A", "B", "C", "D")
CELLS = tuple(f"{site}{sector}" for site in SITES for sector in (1, 2, 3))
"""Four sites of three sectors."""


@dataclass(frozen=True)
class Table:
    """One measurement file before it is written."""

    columns: dict[str, int]
    """Column -> decimals; 0 for text and whole numbers."""
    rows: list[Row]
    """One value a column; None is an empty field."""
    facts: Row
    """The ground truth of these rows."""


def stamp(moment: datetime, timespec: str = "seconds") -> str:
    """UTC as `2024-03-04 00:00:00`: ISO 8601 with a space (RFC 3339, 5.6); no zone: pandas reads naive times."""
    return moment.isoformat(" ", timespec)


def after(start: datetime, seconds: float) -> datetime:
    """`start` and whole milliseconds."""
    return start + timedelta(milliseconds=round(seconds * 1000))


def rounded(columns: dict[str, int], rows: Iterable[Row]) -> list[Row]:
    """The rows with the numbers as the file will hold them; the truth is computed from these."""
    return [{name: _rounded(row[name], decimals) for name, decimals in columns.items()} for row in rows]


def _rounded(value: Any, decimals: int) -> Any:
    # Adding 0.0 turns -0.0 into 0.0.
    return round(value, decimals) + 0.0 if decimals and isinstance(value, float) else value


def noise(rng: Random, deviation: float) -> float:
    """A bell-shaped value of this standard deviation, within three of them: the sum of three uniform ones."""
    return (rng.random() + rng.random() + rng.random() - 1.5) * 2 * deviation


def clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def curve(points: Sequence[tuple[float, float]], x: float) -> float:
    """Linear interpolation between (x, y) `points` sorted by x; the ends go on level."""
    if x <= points[0][0]:
        return points[0][1]
    for (left, low), (right, high) in itertools.pairwise(points):
        if x <= right:
            return low + (high - low) * (x - left) / (right - left)
    return points[-1][1]


def present(rows: Iterable[Row], column: str) -> list[float]:
    """The column's values that are there."""
    return [row[column] for row in rows if row[column] is not None]


def total(values: Iterable[float], decimals: int = 6) -> float:
    return round(math.fsum(values), decimals)


def mean(values: Sequence[float], decimals: int = 6) -> float | None:
    """None for no values."""
    return round(math.fsum(values) / len(values), decimals) if values else None


def percentile(values: Sequence[float], share: float, decimals: int = 6) -> float | None:
    """With linear interpolation between the ranks, the default of pandas and NumPy; None for no values."""
    if not values:
        return None
    ordered = sorted(values)
    rank = share * (len(ordered) - 1)
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (rank - low), decimals)


def percent(part: float, whole: float) -> float | None:
    """100 part / whole; None for nothing at all."""
    return round(100 * part / whole, 6) if whole else None
