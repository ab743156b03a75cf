"""Which statements of a configuration are open at each line: `protocols {` and `bgp {`, where a neighbor is set."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from netllama.documents.document import TextBlock
from netllama.documents.text_layout import find_indent

_OPENING = ("{", "[", "(")
CLOSING_LINE = re.compile(r"[\])}].*")
Surroundings = tuple[str, str]
"""The lines that open what is open in front of a line, and those that close what is open behind it."""


@dataclass(frozen=True)
class ListingBlock(TextBlock):
    """Code whose lines are statements that stand in others: `opening` is the outermost one."""


@dataclass(eq=False, slots=True)
class _Statement:
    line: str
    level: int
    above: "_Statement | None"
    length: int
    """Characters of it and of those above."""
    closing: str = ""


def list_surroundings(block: ListingBlock, longest: int) -> list[Surroundings]:
    """For each line of the block; those of the block itself where they would take more than `longest` characters."""

    @cache
    def show(before: _Statement | None, after: _Statement | None) -> Surroundings:
        if max(statement.length for statement in (before, after) if statement) > longest:
            return block.opening, block.closing
        openings = [statement.line for statement in _iter_outwards(before)]
        closings = [statement.closing for statement in _iter_outwards(after) if statement.closing]
        return "\n".join([block.opening, *reversed(openings)]), "\n".join(filter(None, [*closings, block.closing]))

    found = _find_open(block.text.split("\n"))
    return [show(*pair) if any(pair) else (block.opening, block.closing) for pair in found]


def shorten(surroundings: Surroundings, innermost: int) -> Surroundings:
    """With the outermost and so many of the innermost statements; of those between, the brackets alone: `... { {`."""
    opening, closing = surroundings
    outermost, *others = opening.split("\n")
    between, kept = others[: len(others) - innermost], others[max(len(others) - innermost, 0) :]
    brackets = " ".join(line.rstrip()[-1] for line in between if line.rstrip().endswith(_OPENING))
    shown = [" " * find_indent(between[0]) + f"... {brackets}"] if brackets else []
    return "\n".join([outermost, *shown, *kept]), closing


def _iter_outwards(statement: _Statement | None) -> Iterator[_Statement]:
    while statement:
        yield statement
        statement = statement.above


def find_levels(lines: Sequence[str]) -> list[int]:
    """How far to the right each line stands: its indent, and the brackets that are open around it."""
    inside = [0] * (len(lines) + 1)
    opened: list[int] = []
    for at, line in enumerate(lines):
        text = line.strip()
        if opened and CLOSING_LINE.fullmatch(text):
            inside[opened.pop() + 1] += 1
            inside[at] -= 1
        if text.endswith(_OPENING):
            opened.append(at)
    return [find_indent(line) + depth for line, depth in zip(lines, accumulate(inside), strict=False)]


def _find_open(lines: Sequence[str]) -> list[tuple[_Statement | None, _Statement | None]]:
    """The innermost statement that is open in front of each line, and the one that is open behind it."""
    levels = [*find_levels(lines), 0]
    found = []
    inner: _Statement | None = None
    for line, level, following in zip(lines, levels, levels[1:], strict=False):
        closes = CLOSING_LINE.fullmatch(line.strip()) is not None
        while inner and (inner.level > level or (inner.level == level and not closes)):
            inner = inner.above
        before = inner
        if inner and inner.level == level:
            inner.closing = line
            inner = inner.above
        if following > level:
            inner = _Statement(line, level, inner, len(line) + (inner.length if inner else 0))
        found.append((before, inner))
    return found
