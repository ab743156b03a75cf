"""The form all measurement files share: their times and cells, their rows, and how numbers are rounded."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

TableRow = dict[str, Any]

MONDAY = datetime(2024, 3, 4)
"""UTC: start of the files that cover a week."""
HOUR = datetime(2024, 3, 5, 8)
"""UTC: start of the files that cover an hour or two; also the start of the routing scenarios."""
SITES = ("A", "B", "C", "D")
CELLS = tuple(f"{site}{sector}" for site in SITES for sector in (1, 2, 3))
"""Four sites of three sectors."""


@dataclass(frozen=True)
class MeasurementTable:
    """The content of one measurement file, and its ground truth."""

    columns: dict[str, int]
    """Column -> number of decimals; 0 for text and whole numbers."""
    rows: list[TableRow]
    """Each row has one value per column; None is an empty field."""
    facts: TableRow
    """The ground truth of the rows."""


def format_time(moment: datetime, timespec: str = "seconds") -> str:
    """UTC like `2024-03-04 00:00:00`: ISO 8601 with a space (RFC 3339, 5.6), no zone: pandas reads naive times."""
    return moment.isoformat(" ", timespec)


def add_seconds(start: datetime, seconds: float) -> datetime:
    """`start` plus `seconds`, rounded to whole milliseconds."""
    return start + timedelta(milliseconds=round(seconds * 1000))


def round_rows(columns: dict[str, int], rows: Iterable[TableRow]) -> list[TableRow]:
    """The rows with numbers rounded as in the file. The ground truth is computed from these."""
    return [{name: _round_value(row[name], decimals) for name, decimals in columns.items()} for row in rows]


def _round_value(value: Any, decimals: int) -> Any:
    # Adding 0.0 turns -0.0 into 0.0
    return round(value, decimals) + 0.0 if decimals and isinstance(value, float) else value
