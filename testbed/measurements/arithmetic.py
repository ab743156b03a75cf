"""The arithmetic of the measurement files: bounded noise, interpolation, and the statistics of the ground truth.

The files must have the same bytes on every machine, so everything here uses only + - * / and sqrt, which IEEE 754
rounds the same everywhere: `random.gauss`, `exp` and `log` may differ in the last digit between two C libraries, and
so could a rounded value. (The one exception is a rounded figure in radio.py.) Sums use `math.fsum`, because the
built-in `sum` compensates for rounding from Python 3.12 on and did not before.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from random import Random

from testbed.measurements.tables import TableRow


def draw_noise(rng: Random, deviation: float) -> float:
    """A bell-shaped random value, the sum of three uniform ones: at most three standard `deviation`s from 0."""
    return (rng.random() + rng.random() + rng.random() - 1.5) * 2 * deviation


def clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def interpolate(points: Sequence[tuple[float, float]], x: float) -> float:
    """Interpolate linearly between (x, y) `points` sorted by x; beyond the ends the value stays constant."""
    if x <= points[0][0]:
        return points[0][1]
    for (left, low), (right, high) in itertools.pairwise(points):
        if x <= right:
            return low + (high - low) * (x - left) / (right - left)
    return points[-1][1]


def list_present(rows: Iterable[TableRow], column: str) -> list[float]:
    """The column's values, without missing ones."""
    return [row[column] for row in rows if row[column] is not None]


def compute_total(values: Iterable[float], decimals: int = 6) -> float:
    return round(math.fsum(values), decimals)


def compute_mean(values: Sequence[float], decimals: int = 6) -> float | None:
    """The mean; None without values."""
    return round(math.fsum(values) / len(values), decimals) if values else None


def compute_percentile(values: Sequence[float], share: float, decimals: int = 6) -> float | None:
    """The percentile, interpolated linearly between ranks as by default in pandas and NumPy; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    rank = share * (len(ordered) - 1)
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (rank - low), decimals)


def compute_percent(part: float, whole: float) -> float | None:
    """100 * part / whole; None if `whole` is 0."""
    return round(100 * part / whole, 6) if whole else None
