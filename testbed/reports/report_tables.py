"""Small tables written into a sentence: rows in one wording, separated by semicolons."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import permutations

from testbed.reports.report_values import measure
from testbed.reports.report_wording import Fields, fill_wording, read_wording

SEPARATOR = "; "


def write_rows(row: str, rows: Sequence[Fields]) -> str:
    return SEPARATOR.join(fill_wording(row, fields) for fields in rows)


def read_rows(row: str, fields: Fields) -> list[dict[str, str]]:
    """The rows in the field `rows`. ValueError if one is not in the wording `row`."""
    result = [read_wording(row, text) for text in fields["rows"].split(SEPARATOR)]
    if None in result:
        raise ValueError(f"not rows like {row!r}: {fields['rows']}")
    return [each for each in result if each is not None]


def read_row(row: str, fields: Fields, key: str, value: str) -> dict[str, str]:
    """The row whose field `key` is `value`. KeyError if there is none."""
    for each in read_rows(row, fields):
        if each[key] == value:
            return each
    raise KeyError(value)


def list_row_keys(row: str, fields: Fields, key: str) -> list[dict[str, str]]:
    return [{key: each[key]} for each in read_rows(row, fields)]


def list_other_pairs(row: str, fields: Fields, key: str) -> list[dict[str, str]]:
    """All ordered pairs of rows: `key` names the one, `other` the other."""
    names = [each[key] for each in read_rows(row, fields)]
    return [{key: one, "other": other} for one, other in permutations(names, 2)]


def find_extreme(
    row: str, fields: Fields, key: str, column: str, extreme: Callable[[Sequence[Decimal]], Decimal]
) -> str | None:
    """The `key` of the row with the largest (`max`) or smallest (`min`) value; None if two rows share it."""
    rows = read_rows(row, fields)
    best = extreme([measure(each[column]) for each in rows])
    found = [each[key] for each in rows if measure(each[column]) == best]
    return found[0] if len(found) == 1 else None
