"""Pages of a text or a PDF into one run of lines, without what only paper needs: page breaks, footers, heads."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_FOOTER = re.compile(r".*\[page \w+\][ \t]*", re.IGNORECASE)
_RUNNING_HEAD = re.compile(r"(?:RFC[ \t]?\d+|Internet-Draft)[ \t].*\b\d{4}[ \t]*", re.IGNORECASE)
_LEAST_PAGES = 3
"""A line at the edge of so many pages is no text of theirs if it counts them, or if a third of all pages has it."""


def split_pages(text: str) -> list[str]:
    """At form feeds; without any, below each footer `[Page n]`."""
    if "\f" in text:
        return text.split("\f")
    pages, lines = [], list[str]()
    for line in text.split("\n"):
        lines.append(line)
        if _FOOTER.fullmatch(line):
            pages.append("\n".join(lines))
            lines = []
    return [*pages, "\n".join(lines)]


def join_pages(pages: Sequence[str]) -> list[str]:
    """The lines of all pages, each without spaces at its end. A paragraph that a page break cuts is whole again."""
    kept = [_strip_edges(page.split("\n")) for page in pages]
    for page in kept[1:]:
        if page and _RUNNING_HEAD.fullmatch(page[0]):
            page[:] = _strip_edges(page[1:])
    for page in kept:
        if page and _FOOTER.fullmatch(page[-1]):
            page[:] = _strip_edges(page[:-1])
    for edge in (0, -1):
        while _drop_running_lines(kept, edge):
            pass
    lines: list[str] = []
    for page in filter(None, kept):
        if lines and not _continues(lines[-1], page[0]):
            lines.append("")
        lines += page
    return lines


def _strip_edges(lines: Sequence[str]) -> list[str]:
    """Without empty lines at both ends."""
    texts = [line.rstrip() for line in lines]
    filled = [at for at, text in enumerate(texts) if text]
    return texts[filled[0] : filled[-1] + 1] if filled else []


def _drop_running_lines(pages: Sequence[list[str]], edge: int) -> bool:
    """Drop the first (`edge` 0) or last line (-1) that many pages have. True: there was one."""
    shapes = [_find_shape(page[edge], number) if page else None for number, page in enumerate(pages)]
    running = {
        shape
        for shape, count in Counter(filter(None, shapes)).items()
        if count >= _LEAST_PAGES and (shape.offset is not None or count >= len(pages) / 3)
    }
    for page, shape in zip(pages, shapes, strict=True):
        if shape in running:
            del page[edge]
            page[:] = _strip_edges(page)
    return bool(running)


class _Shape(NamedTuple):
    """What the lines at the edges of several pages have in common."""

    text: str
    """Without its last number."""
    offset: int | None
    """Of a page number, what it is ahead of the page's place; None: the line has no number."""


def _find_shape(line: str, place: int) -> _Shape:
    words = " ".join(line.split()).casefold()
    number = re.search(r"\d{1,5}(?=\D*\Z)", words)
    if not number:
        return _Shape(words, None)
    return _Shape(words[: number.start()] + words[number.end() :], int(number[0]) - place)


def _continues(line: str, following: str) -> bool:
    """Whether a sentence goes on over the page break."""
    indents = [len(text) - len(text.lstrip()) for text in (line, following)]
    return line[-1] not in ".:;!?" and following.lstrip()[0].islower() and indents[1] >= indents[0]
