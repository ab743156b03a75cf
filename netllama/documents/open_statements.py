"""Which statements of a configuration are open at each line: `protocols {` and `bgp {`, where a neighbor is set."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from netllama.documents.document import TextBlock
from netllama.documents.text_layout import find_indent

CLOSING_LINE = re.compile(r"[\])}].*")
Surroundings = tuple[str, str]
"""The lines that open what is open in front of a line, and those that close what is open behind it."""


@dataclass(eq=False, slots=True)
class _Statement:
    line: str
    indent: int
    above: "_Statement | None"
    length: int
    """Characters of it and of those above."""
    closing: str = ""


def list_surroundings(block: TextBlock, longest: int) -> list[Surroundings]:
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


def _iter_outwards(statement: _Statement | None) -> Iterator[_Statement]:
    while statement:
        yield statement
        statement = statement.above


def _find_open(lines: Sequence[str]) -> list[tuple[_Statement | None, _Statement | None]]:
    """The innermost statement that is open in front of each line, and the one that is open behind it."""
    indents = [*map(find_indent, lines), 0]
    found = []
    inner: _Statement | None = None
    for line, indent, following in zip(lines, indents, indents[1:], strict=False):
        closes = CLOSING_LINE.fullmatch(line.strip()) is not None
        while inner and (inner.indent > indent or (inner.indent == indent and not closes)):
            inner = inner.above
        before = inner
        if inner and inner.indent == indent:
            inner.closing = line
            inner = inner.above
        if following > indent:
            inner = _Statement(line, indent, inner, len(line) + (inner.length if inner else 0))
        found.append((before, inner))
    return found
