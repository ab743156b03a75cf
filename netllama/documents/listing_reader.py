"""Router configurations, logs, YANG modules: text in which a line is a statement, and lines below it are indented.

A statement with its indented lines is a block. Wherever it is cut, the statements that are open there are repeated:
`neighbor ...` stands below `router bgp 64500` in each chunk. Neighbouring statements of one line each, as in a log,
share a block.
"""

import re
from collections.abc import Iterator

from netllama.documents.document import TextBlock
from netllama.documents.open_statements import CLOSING_LINE, ListingBlock, find_levels
from netllama.documents.outline import Outline

# IOS, EOS and NX-OS; Junos; VRP.
_NAME = re.compile(r"^[ \t]*(?:hostname|switchname|host-name|sysname)[ \t]+\"?([\w.-]+)", re.MULTILINE)


def read_listing(text: str) -> Outline:
    """Empty lines and lines of `!` or `#` alone, which only separate, are left out. The title is the router's name."""
    name = _NAME.search(text)
    return Outline(list(_iter_blocks(text)), name[1] if name else "")


def _iter_blocks(text: str) -> Iterator[TextBlock]:
    single: list[str] = []
    for statement, *below in _iter_statements(text):
        if all(map(CLOSING_LINE.fullmatch, below)):
            single += [statement, *below]
            continue
        if single:
            yield TextBlock("code", "\n".join(single))
            single = []
        closing = below.pop() if CLOSING_LINE.fullmatch(below[-1]) else ""
        yield ListingBlock("code", "\n".join(below), statement, closing)
    if single:
        yield TextBlock("code", "\n".join(single))


def _iter_statements(text: str) -> Iterator[list[str]]:
    """Each line at the margin, with the lines below it that are indented or in its brackets, and what closes these."""
    lines = [line.rstrip() for line in text.split("\n") if line.strip().strip("!#")]  # else it only separates
    statement: list[str] = []
    for line, level in zip(lines, find_levels(lines), strict=True):
        if statement and level == 0 and not CLOSING_LINE.fullmatch(line):
            yield statement
            statement = []
        statement.append(line)
    if statement:
        yield statement
