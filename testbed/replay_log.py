"""The log of the pybgpstream replay -> its events. A script can write into the log, too, so any text may be in it.

shims/_pybgpstream/__init__.py documents the events; of each, what its readers rely on is kept.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netllama.sandbox.echo import escape_controls

LOG_LIMIT = 2**24
"""Octets of a log that are read."""
LARGEST = 2**63
"""Numbers are smaller: Python prints none of more than 4,300 digits."""


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and abs(value) < LARGEST


def _holds_texts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


Shape = dict[str, Callable[[object], bool]]
_PLACE: Shape = {"what": _is_text, "detail": _is_text, "file": _is_text, "line": _is_number}
_SHAPES: dict[str, Shape] = {
    "stream": {"shift": _is_number, "collectors": _holds_texts},
    "misuse": _PLACE,
    "note": _PLACE,
    "consumed": {"records": _is_number, "elems": _is_number},
}


def read_log(log: Path) -> tuple[list[dict[str, Any]], int]:
    """(the log's events, lines that are none); a line that a killed script left half-written is neither.

    Texts are escaped: they steer no terminal, and any file can hold them.
    """
    if log.is_symlink() or not log.is_file():
        return [], 0
    with log.open("rb") as file:
        *lines, _ = file.read(LOG_LIMIT).decode("utf-8", errors="replace").split("\n")
    events = [event for line in lines if (event := _parse_event(line))]
    return events, len(lines) - len(events)


def _parse_event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    shape = _SHAPES.get(event["event"])
    if not shape or not all(holds(event.get(key)) for key, holds in shape.items()):
        return None
    return {key: _escape_texts(event[key]) for key in ("event", *shape)}


def _escape_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {_escape_texts(key): _escape_texts(each) for key, each in value.items()}
    return escape_controls(value) if isinstance(value, str) else value
