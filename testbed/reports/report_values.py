"""Reads and computes values as reports write them: a number, with a unit or without, or a time of day."""

from decimal import Decimal


def add(one: str, other: str) -> str:
    """The sum of two values of the same unit, or of none."""
    return f"{measure(one) + measure(other)}{_find_unit(one, other)}"


def subtract(minuend: str, subtrahend: str) -> str:
    """The difference of two values of the same unit, or of none: `3.25 ms` less `1.20 ms` is `2.05 ms`."""
    return f"{measure(minuend) - measure(subtrahend)}{_find_unit(minuend, subtrahend)}"


def _find_unit(*values: str) -> str:
    """The unit with a space before it, or nothing. ValueError if the values differ in it."""
    (unit,) = {value.removeprefix(value.split(" ")[0]) for value in values}
    return unit


def measure(value: str) -> Decimal:
    """The number of a value with or without a unit."""
    return Decimal(value.split(" ", 1)[0])


def count_seconds(start: str, end: str) -> int:
    """Seconds from one time of day (`14:05:12`) to another."""
    first, last = (
        sum(int(part) * unit for part, unit in zip(time.split(":"), (3600, 60, 1), strict=True))
        for time in (start, end)
    )
    return last - first
