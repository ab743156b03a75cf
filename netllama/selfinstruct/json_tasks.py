"""Finds tasks in an answer that should be the JSON of the contract, and is nearly it.

Read is what has one meaning: JSON in a fence or between prose, a bare list, a list under another key, tasks one by one
(JSON Lines, a fence each), line ends inside a string, a comma too many. In an answer that is broken in the middle, the
tasks that are whole are read, and what is left of the others is malformed.
"""

import json
import re
from typing import Any, NamedTuple

_DECODER = json.JSONDecoder(strict=False)
_START = re.compile(r"[{\[](?=\s*+[\"{])")
INSTRUCTION = re.compile(r'"instruction"', re.IGNORECASE)
_QUOTES = {ord(quote): '"' for quote in "“”„"}
_MOST_FAILURES = 64
"""So many beginnings that lead to no JSON are tried: each may be read to the end of the text."""
_DEPTH = 3
"""How deep in the answer's objects the list may be."""


class Found(NamedTuple):
    """What an answer holds, in the order of the text."""

    rows: list[Any]
    """Decoded tasks, and what stands in a list beside them."""
    broken: list[str]
    """Text that names an instruction and can't be decoded."""
    rest: str
    """The text behind the last row."""


def list_rows(value: Any, depth: int = _DEPTH) -> list[Any]:
    """The rows in a decoded answer: a list that holds tasks, a task alone, or an object around either; [] if none."""
    if isinstance(value, list):
        return value if any(_names_instruction(row) for row in value) else []
    if not isinstance(value, dict) or not depth:
        return []
    if isinstance(value.get("tasks"), list):
        return list(value["tasks"])
    if _names_instruction(value):
        return [value] if "output" in map(_normalise_key, value) else []
    found = [rows for inner in value.values() if (rows := list_rows(inner, depth - 1))]
    # {"task_1": {...}, "task_2": {...}} is a list, too; two lists of tasks may be anything.
    if len(found) > 1 and not all(isinstance(inner, dict) for inner in value.values()):
        return []
    return [row for rows in found for row in rows]


def find_rows(text: str) -> Found:
    """The rows of all JSON values in the text. In a cut answer, those in front of the cut are values of their own."""
    found = _search_rows(text)
    if not found.rows and not _QUOTES.keys().isdisjoint(map(ord, text)):
        return _search_rows(text.translate(_QUOTES))
    return found


def _search_rows(text: str) -> Found:
    rows: list[Any] = []
    broken: list[str] = []
    position = left = failures = 0
    while failures < _MOST_FAILURES and (start := _START.search(text, position)):
        value, position = _decode(text, start.start())
        failures += value is None
        if found := list_rows(value):
            if INSTRUCTION.search(text, left, start.start()):
                broken.append(text[left : start.start()].strip())
            rows += found
            left = position
    return Found(rows, broken, text[left:].strip())


def read_field(row: dict[str, Any], name: str) -> Any:
    """The value of the field `name`, in any case; None if there is none."""
    return next((value for key, value in row.items() if _normalise_key(key) == name), None)


def _names_instruction(value: Any) -> bool:
    return isinstance(value, dict) and "instruction" in map(_normalise_key, value)


def _normalise_key(key: str) -> str:
    return key.strip().lower()


def _decode(text: str, start: int) -> tuple[Any, int]:
    """(value, its end); (None, the next place to try) if no JSON value begins there that can be written as UTF-8."""
    try:
        value, end = _DECODER.raw_decode(text, start)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # among the former: half a surrogate pair
        return None, start + 1
    return value, end
