"""Checks the arguments of the low-level methods, as CPython's PyArg_ParseTuple does.

Format units (Python/C API, "Parsing arguments"): s is a str, I an unsigned int that wraps at 2**32, i a C int.
"""

import operator
from collections.abc import Callable
from typing import Any


def parse_arguments(arguments: tuple[Any, ...], units: str) -> tuple[Any, ...]:
    """Convert the arguments. TypeError, ValueError or OverflowError with CPython's messages."""
    if len(arguments) != len(units):
        plural = "" if len(units) == 1 else "s"
        raise TypeError(f"function takes exactly {len(units)} argument{plural} ({len(arguments)} given)")
    pairs = zip(units, arguments, strict=True)
    return tuple(_UNITS[unit](value, place) for place, (unit, value) in enumerate(pairs, 1))


def refuse_arguments(arguments: tuple[Any, ...], method: str) -> None:
    if arguments:
        raise TypeError(f"BGPStream.{method}() takes no arguments ({len(arguments)} given)")


def refuse_keywords(keywords: dict[str, Any], method: str) -> None:
    if keywords:
        raise TypeError(f"BGPStream.{method}() takes no keyword arguments")


def _parse_str(value: Any, position: int) -> str:
    if not isinstance(value, str):
        found = "None" if value is None else type(value).__name__
        raise TypeError(f"argument {position} must be str, not {found}")
    if "\0" in value:
        raise ValueError("embedded null character")
    return value


def _parse_unsigned(value: Any, position: int) -> int:
    return operator.index(value) & 0xFFFFFFFF


def _parse_int(value: Any, position: int) -> int:
    number = operator.index(value)
    if number > 0x7FFFFFFF:
        raise OverflowError("signed integer is greater than maximum")
    if number < -0x80000000:
        raise OverflowError("signed integer is less than minimum")
    return number


_UNITS: dict[str, Callable[[Any, int], Any]] = {"s": _parse_str, "I": _parse_unsigned, "i": _parse_int}
