"""Plain text into headings and blocks: RFCs, 3GPP-like specifications, notes.

A paragraph that is filled up to the right margin becomes one line. Everything else (art, ABNF, tables, lists) keeps its
lines, without the indent that they share. Page breaks, footers, running heads and the table of contents are left out.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from netllama.documents.document import TextBlock
from netllama.documents.numbered_headings import match_numbered_line
from netllama.documents.outline import Heading, Outline
from netllama.documents.page_layout import join_pages, split_pages
from netllama.documents.table_of_contents import drop_contents
from netllama.documents.text_headings import FoundHeading, find_headings
from netllama.documents.text_layout import ITEM, TextLayout, find_indent, find_layout, is_filled

_RFC_NUMBER = re.compile(r"Request for Comments: *(\d+)", re.IGNORECASE)
_ART = re.compile(r"\S {3,}\S|\t|[|+][-=+|]|[-=+|][|+]|::=|^ *[\w-]+ +=/? ")
_HYPHEN_BREAK = re.compile(r"(?<=[A-Za-z])-\n[ \t]*(?=[A-Za-z])")
_FRONT = 60
"""Lines of a document in which its title may stand."""
_CENTRED = 8
_RFC_WIDTH = 72
_OFF_CENTRE = 3
"""Columns: the width is that of most lines, and some writers count in tabs."""
_LONGEST_TITLE = 100


def read_plain_text(text: str) -> Outline:
    lines = join_pages(split_pages(text))
    return _read_lines(lines, find_layout(lines))


def read_printed_pages(pages: Sequence[str]) -> Outline:
    """The text of a PDF's pages: no empty lines are in it but those between pages."""
    lines = join_pages(pages)
    return _read_lines(lines, replace(find_layout(lines), indented=False, dense=True))


def _read_lines(lines: Sequence[str], layout: TextLayout) -> Outline:
    lines = drop_contents(lines, layout)
    headings = find_headings(lines, layout)
    title = _find_centred_title(lines, layout, headings)
    items = list(_iter_items(lines, layout, headings))
    if not title and (first := _find_first_line(items)):
        items[0] = Heading(1, first)
    return Outline(items, title)


def _find_centred_title(lines: Sequence[str], layout: TextLayout, headings: Sequence[FoundHeading]) -> str:
    """Of an RFC or an Internet-Draft: its number, and the lines in the middle above the first heading."""
    if not layout.indented:
        return ""
    front = lines[: min(headings[0].line if headings else _FRONT, _FRONT)]
    number = _RFC_NUMBER.search("\n".join(front))
    centred = next((group for group in _iter_groups(front) if _is_centred(group, layout)), [])
    title = " ".join(" ".join(centred).split())
    return ": ".join(filter(None, (f"RFC {number[1]}" if number else "", title)))


def _is_centred(group: Sequence[str], layout: TextLayout) -> bool:
    """Whether its lines begin far to the right, or have equal margins, as a title has that fills its line."""
    indent = min(map(find_indent, group))
    if indent >= _CENTRED or indent == 0:
        return indent > 0
    middle = (layout.width or _RFC_WIDTH) / 2
    return layout.memo and all(abs((find_indent(line) + len(line)) / 2 - middle) <= _OFF_CENTRE for line in group)


def _find_first_line(items: Sequence[Heading | TextBlock]) -> str:
    """The title of a text that begins with a line of its own; empty: it doesn't."""
    first = items[0] if items else None
    if isinstance(first, Heading) or first is None or len(items) == 1:
        return ""
    is_title = "\n" not in first.text and len(first.text) <= _LONGEST_TITLE and first.text[-1] not in ".:;,"
    numbered = match_numbered_line(0, first.text)
    counts = ITEM.match(first.text) or (numbered and numbered.simple == 1)
    return first.text if is_title and not counts else ""


def _iter_groups(lines: Sequence[str]) -> Iterator[list[str]]:
    """Lines between empty ones."""
    group: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            group.append(line)
        elif group:
            yield group
            group = []


def _iter_items(
    lines: Sequence[str], layout: TextLayout, headings: Sequence[FoundHeading]
) -> Iterator[Heading | TextBlock]:
    done = 0
    for heading in headings:
        yield from _iter_blocks(lines[done : heading.line], layout)
        yield Heading(heading.level, heading.text)
        done = heading.line + heading.lines
    yield from _iter_blocks(lines[done:], layout)


def _iter_blocks(lines: Sequence[str], layout: TextLayout) -> Iterator[TextBlock]:
    for group in _iter_groups(lines):
        for run in _split_dense(group, layout) if layout.dense else [group]:
            yield _make_block(run, layout)


def _split_dense(group: Sequence[str], layout: TextLayout) -> Iterator[list[str]]:
    """The paragraphs of a text without empty lines between them, and the lines between these paragraphs."""
    runs: list[list[str]] = []
    filled = False
    for at, line in enumerate(group):
        goes_on = at > 0 and is_filled(group[at - 1], line, layout)
        fills = at + 1 < len(group) and is_filled(line, group[at + 1], layout)
        if runs and (goes_on or (not filled and not fills)):
            runs[-1].append(line)
        else:
            runs.append([line])
        filled = goes_on or fills
    yield from runs


def _make_block(lines: Sequence[str], layout: TextLayout) -> TextBlock:
    text = textwrap.dedent("\n".join(lines)).rstrip()
    is_art = any(_ART.search(line) for line in text.split("\n"))
    even = len({find_indent(line) for line in lines[1:]}) <= 1
    if not is_art and even and all(is_filled(*pair, layout) for pair in pairwise(lines)):
        return TextBlock("prose", " ".join(_HYPHEN_BREAK.sub("-", text).split()))
    if is_art:
        return TextBlock("code", text)
    return TextBlock("list" if ITEM.match(text) else "lines", text)
