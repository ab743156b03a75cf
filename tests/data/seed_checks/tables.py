"""Tables that scripts print, and the rows of the measurements' CSV files that they are compared with."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from tests.data.seed_checks import Ran

Rows = list[tuple[str, list[float]]]
Row = dict[str, str]
QUARTER, HOUR = timedelta(minutes=15), timedelta(hours=1)


def as_number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def printed_rows(ran: Ran, figures: int, names: int = 1) -> Rows:
    """The printed lines that are `names` words and `figures` numbers: the rows of a printed table."""
    found = []
    for words in (line.split() for line in ran.lines):
        numbers = [as_number(word) for word in words[names:]]
        if len(numbers) == figures and None not in numbers:
            found.append((" ".join(words[:names]), [number for number in numbers if number is not None]))
    return found


def assert_same(printed: Rows, expected: Rows, decimals: int) -> None:
    """The same names in the same order, and the same figures, as far as they are printed."""
    assert [name for name, _ in printed] == [name for name, _ in expected]
    for (name, figures), (_, wanted) in zip(printed, expected, strict=True):
        for figure, value in zip(figures, wanted, strict=True):
            assert abs(figure - value) <= 0.5 * 10**-decimals + 2e-6, (name, figures, wanted)


def grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return dict(sorted(groups.items()))


def by_cell(rows: Iterable[Row]) -> dict[str, list[Row]]:
    return grouped(rows, lambda row: row["cell"])


def kpi_without_copies(ran: Ran) -> list[Row]:
    return list({tuple(row.values()): row for row in ran.table("kpi")}.values())


def values_of(rows: Iterable[Row], column: str) -> list[float]:
    return [float(row[column]) for row in rows if row[column]]


def time_of(row: Row, column: str = "timestamp") -> datetime:
    return datetime.fromisoformat(row[column])


def planted(truth: dict[str, Any], kind: str) -> dict[str, Any]:
    (event,) = [event for event in truth["planted"] if event["kind"] == kind]
    return dict(event)
