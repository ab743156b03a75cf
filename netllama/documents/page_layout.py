"""Pages of a text or a PDF into one run of lines, without what only paper needs: page breaks, footers, heads."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

_FOOTER = re.compile(r".*\[page (?P<number>\w{1,9})\][ \t]*", re.IGNORECASE)
_RUNNING_HEAD = re.compile(r"(?:RFC[ \t]?\d+|Internet-Draft)[ \t].*\b\d{4}[ \t]*", re.IGNORECASE)
# A number in dashes, bars or brackets, `Page 7`, `page 7 of 12`, `7/12`.
_MARK = r"[-–—|.()\[\] ]*"
_PAGE_NUMBER = re.compile(rf"{_MARK}(?:page )?(?P<number>\d{{1,5}})(?: of \d{{1,5}}| ?/ ?\d{{1,5}})?{_MARK}")
# A year counts no pages: `Results of 2020` may be a heading, and the date in a running head is the same on every page.
_COUNT = r"\b(?!(?:19|20)\d\d\b)\d{1,5}\b"
_COUNT_AT_END = re.compile(rf"{_COUNT}(?=\W*\Z)")
_COUNT_AT_BEGIN = re.compile(rf"{_COUNT}(?= )")
_WORD = re.compile(r"\w\S*")
_MARKED = re.compile(r"page|\bof\b|[-–—|/]")
"""What tells a page number, `- 1 -` or `1/2`, from the number of an exercise."""
_LEAST_PAGES = 3
"""A line at the edge of fewer pages is text of theirs, unless these are all there are."""
_LEAST_COUNTED, _LEAST_WORDS = 5, 3
"""What tells a running head with a page number, `The Lamp Book 17`, from a heading, `Exercise 3`: pages and words."""


def split_pages(text: str) -> list[str]:
    """At form feeds; without any, below each footer `[Page n]`, if at least three of them count the pages.

    Two are enough if the running head of an RFC stands below the first one.
    """
    if "\f" in text:
        return text.split("\f")
    lines = text.split("\n")
    footers = _find_footers(lines, _LEAST_PAGES)
    if not footers and (two := _find_footers(lines, 2)):
        below = next((line for line in lines[two[0] + 1 :] if line.strip()), "")
        footers = two if _RUNNING_HEAD.fullmatch(below) else []
    borders = [0, *(at + 1 for at in footers), len(lines)]
    return ["\n".join(lines[begin:end]) for begin, end in pairwise(borders)]


def join_pages(pages: Sequence[str]) -> list[str]:
    """The lines of all pages, each without spaces at its end. A paragraph that a page break cuts is whole again."""
    kept = [_strip_edges(page.split("\n")) for page in pages]
    for page in kept[1:]:
        if page and _RUNNING_HEAD.fullmatch(page[0]):
            page[:] = _strip_edges(page[1:])
    for at in _find_footers([page[-1] if page else "" for page in kept], least=2):
        kept[at] = _strip_edges(kept[at][:-1])
    for edge in (0, -1):
        counted: set[int] = set()
        while _drop_running_lines(kept, edge, counted):
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


def _find_footers(lines: Sequence[str], least: int) -> list[int]:
    """The places of the lines `[Page n]`.

    None, unless there are `least` numbers (those of front pages may be roman) and each is one above the number before
    it: a reference to a page of a book may end a line, too.
    """
    found = {at: match["number"] for at, line in enumerate(lines) if (match := _FOOTER.fullmatch(line))}
    numbers = [int(number) for number in found.values() if number.isdecimal()]
    rise = all(after == before + 1 for before, after in pairwise(numbers))
    return list(found) if len(numbers) >= least and rise else []


def _drop_running_lines(pages: Sequence[list[str]], edge: int, counted: set[int]) -> bool:
    """Drop the first (`edge` 0) or last line (-1) that many pages have. True: there was one.

    Such a line is
    - a page number, on three pages that it counts;
    - three words and more with a page number before or behind them, on five pages and on a third of all;
    - another line that is the same on three pages and on a third of all.

    Where there are only two pages, it is a page number with its mark, `Page 1` or `- 1 -`, or three words and more
    that are the same on both; the first page keeps these.

    So `Exercise 3` and `Results of 2020` stay, which are headings. A page keeps its only line, and no page loses a
    second line with a page number: `counted` are those that have lost one, and it is added to.
    """
    shapes = [_find_shape(page[edge], place) if page else None for place, page in enumerate(pages)]
    two = sum(map(bool, pages)) == 2
    running = {
        shape
        for shape, count in Counter(filter(None, shapes)).items()
        if (_is_running_on_both(shape, count) if two else _is_running(shape, count, len(pages)))
    }
    before = sum(map(len, pages))
    for place, (page, shape) in enumerate(zip(pages, shapes, strict=True)):
        if not shape or shape not in running or len(page) == 1 or (shape.offset is not None and place in counted):
            continue
        if two and shape.offset is None and not any(pages[:place]):
            continue
        page[:] = _strip_edges(page[1:] if edge == 0 else page[:-1])
        if shape.offset is not None:
            counted.add(place)
    return sum(map(len, pages)) < before


class _Shape(NamedTuple):
    """What the lines at the edges of several pages have in common."""

    text: str
    """Without its page number."""
    offset: int | None
    """Of a page number, what it is ahead of the page's place; None: the line has none."""
    marked: bool = False
    """The page number stands alone and is marked as one."""


def _find_shape(line: str, place: int) -> _Shape:
    words = " ".join(line.split()).casefold()
    if alone := _PAGE_NUMBER.fullmatch(words):
        return _Shape("", int(alone["number"]) - place, bool(_MARKED.search(words)))
    number = _COUNT_AT_END.search(words) or _COUNT_AT_BEGIN.match(words)
    if not number:
        return _Shape(words, None)
    return _Shape(words[: number.start()] + words[number.end() :], int(number[0]) - place)


def _is_running(shape: _Shape, count: int, pages: int) -> bool:
    if shape.offset is None:
        return count >= max(_LEAST_PAGES, pages / 3)
    if not shape.text:
        return count >= _LEAST_PAGES
    return count >= max(_LEAST_COUNTED, pages / 3) and len(_WORD.findall(shape.text)) >= _LEAST_WORDS


def _is_running_on_both(shape: _Shape, count: int) -> bool:
    """Of two pages."""
    if shape.offset is None:
        return count == 2 and len(_WORD.findall(shape.text)) >= _LEAST_WORDS
    return count == 2 and shape.marked and shape.offset == 1


def _continues(line: str, following: str) -> bool:
    """Whether a sentence goes on over the page break."""
    indents = [len(text) - len(text.lstrip()) for text in (line, following)]
    return line[-1] not in ".:;!?" and following.lstrip()[0].islower() and indents[1] >= indents[0]
