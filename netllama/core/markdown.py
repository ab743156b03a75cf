"""Fenced code blocks of a Markdown text, as CommonMark 0.31 (section 4.5) has them and as models write them.

Models also open a block behind a sentence ("Try: ```python") and close one behind its last line of code ("x = 1```"),
which CommonMark does not know.
"""

import re
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

PYTHON = ("python", "py", "python3")
"""What a Python block may be labelled, in lower case."""

# Possessive, so that a long line takes one pass. What stands behind backticks holds none, or they are inline code.
_OPENING = re.compile(
    r"(?P<quotes>[ \t]*+(?:>[ \t]*+)*+)(?:(?:[-*+]|\d{1,9}+[.)])[ \t]++)?+"
    r"(?P<fence>`{3,}+|~{3,}+)[ \t]*+(?P<label>[\w+-]*+)(?P<rest>.*+)"
)
_OPENING_BEHIND_TEXT = re.compile(r"(?P<fence>(?<!`)`{3,}+)[ \t]*+(?P<label>[\w+-]*+)[ \t\r]*+$")
_CLOSING = re.compile(r"(?P<code>[^`]*+)(?P<fence>`{3,}+)[ \t\r]*+$|[ \t]*+(?P<tildes>~{3,}+)[ \t\r]*+$")


class _Block(NamedTuple):
    """One fenced block."""

    label: str
    """The first word behind the fence; empty: none."""
    code: str
    is_closed: bool


class _Opening(NamedTuple):
    fence: str
    label: str
    quotes: int
    """How many > stand before the fence."""


def extract_python_blocks(text: str) -> list[str]:
    """The code of the blocks that are labelled Python, in their order; a block inside a list loses its indent."""
    return [textwrap.dedent(block.code) for block in _list_closed(text) if block.label.lower() in PYTHON]


def extract_unlabelled_blocks(text: str) -> list[str]:
    """The code of the blocks without a label, in their order."""
    return [textwrap.dedent(block.code) for block in _list_closed(text) if not block.label]


def has_open_block(text: str) -> bool:
    """The text ends within a block, as an answer does that the limit of tokens cut off."""
    return any(not block.is_closed for block in _find_blocks(text))


def _list_closed(text: str) -> list[_Block]:
    return [block for block in _find_blocks(text) if block.is_closed]


def _find_blocks(text: str) -> Iterator[_Block]:
    opening: _Opening | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        if opening is None:
            opening, lines = _read_opening(line), []
            continue
        line = re.sub(rf"\A(?:[ \t]*+>[ \t]?){{,{opening.quotes}}}", "", line)
        closing = _CLOSING.match(line)
        if not closing or not (closing["fence"] or closing["tildes"]).startswith(opening.fence):
            lines.append(line + "\n")
            continue
        yield _Block(opening.label, "".join(lines) + (closing["code"] or "").rstrip(" \t"), True)
        opening = None
    if opening:
        yield _Block(opening.label, "".join(lines), False)


def _read_opening(line: str) -> _Opening | None:
    found = _OPENING.match(line)
    if found and found["fence"][0] == "~":  # Python marks the place of an error with tildes, far to the right
        is_mark = line[: found.start("fence")].isspace() and found.start("fence") > 3
        found = None if is_mark or found["rest"].strip() else found
    if found:
        is_inline = found["fence"][0] == "`" and "`" in found["rest"]
        return None if is_inline else _Opening(found["fence"], found["label"], found["quotes"].count(">"))
    if found := _OPENING_BEHIND_TEXT.search(line):
        return _Opening(found["fence"], found["label"], 0)
    return None
