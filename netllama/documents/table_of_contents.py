"""The table of contents of a plain text, which is left out: its words stand above the sections, too.

It is one only if its entries recur as lines below it. What else stands below the word `Contents:` is text: the fields
of a message with their sizes, what is in a box and how many of it.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence, Set
from itertools import pairwise, takewhile

from netllama.documents.text_layout import TextLayout

_CONTENTS = re.compile(r"(?:table of )?contents:?", re.IGNORECASE)
_ENTRY = re.compile(
    r"(.*\S)[ \t]*(?:\.{3,}|(?:[ \t]\.){3,})[ \t]*(\w+)"  # dot leaders and a page
    r"|(.*\S)(?:\t| {2,})(\d+|[ivxlc]+)"  # a page
)
# An indented number and a title: an item of a list looks the same.
_UNPAGED_ENTRY = re.compile(r"[ \t]+(?:\d[\d.]*|[A-Z]\.[\d.]*|Appendix [A-Z].*?)[ \t]+\S.*")
_NUMBER = re.compile(  # `1.`, `A`, `Chapter 1:`, `Annex A (normative):`, `1 -`
    r"\s*(?:(?:[^\W\d_]+\s+)?\d[\w.]*|(?:(?i:annex|appendix|chapter|part|section)\s+)?(?:[A-Z]|[IVX]+)(?:\.[\d.]*)?)"
    r"(?:\s+\((?:normative|informative)\))?[.:)]?(?:\s+[-–—:])?\s+(?=\S)"
)
_LONGEST_ENTRY = 200
_LEAST_RECURRING = 0.25
"""Of the entries with pages: headings may go on in a second line, and a file may hold the first sections alone."""
_MOST_FALLING = 0.25
"""Of the steps from page to page; the list of figures begins anew."""


def drop_contents(lines: Sequence[str], layout: TextLayout) -> list[str]:
    starts = [at for at, line in enumerate(lines) if _CONTENTS.fullmatch(line.strip())]
    if not starts:
        return list(lines)
    headings = sorted(_squeeze(line) for line in lines if line and not line[0].isspace())
    titles = {_read_title(line) for line in lines}
    kept: list[str] = []
    done = 0
    for start in starts:
        end = _find_end(lines, start, headings, layout) if start >= done else 0
        if end and _recur(lines[start + 1 : end], titles):
            kept += [*lines[done:start], ""]
            done = end
    return [*kept, *lines[done:]]


def _find_end(lines: Sequence[str], start: int, headings: Sequence[str], layout: TextLayout) -> int:
    """In front of a paragraph without entries; 0 if less than half of the lines are entries."""
    end, entries, others = start + 1, 0, 0
    for at in range(start + 1, len(lines)):
        line = lines[at]
        if line and not lines[at - 1] and not any(_is_entry(one, headings) for one in takewhile(bool, lines[at:])):
            break
        is_entry = _is_entry(line, headings)
        if line and not is_entry and not (layout.indented and line[0].isspace()):
            following = next((after for after in lines[at + 1 : at + 3] if after), "")
            if not _is_entry(following, headings) or at + 1 == len(lines):  # else it is the first line of a long entry
                break
        end, entries, others = at + 1, entries + is_entry, others + (bool(line) and not is_entry)
    return end if entries > others else 0


def _is_entry(line: str, headings: Sequence[str]) -> bool:
    """`headings`: the sorted lines at the margin; one of them begins with what an entry without a page says."""
    if len(line) > _LONGEST_ENTRY:
        return False
    if _ENTRY.fullmatch(line):
        return True
    words = _squeeze(line)
    first = bisect_left(headings, words)
    return bool(_UNPAGED_ENTRY.fullmatch(line)) and first < len(headings) and headings[first].startswith(words)


def _recur(entries: Sequence[str], titles: Set[str]) -> bool:
    """Whether those with pages do, and the pages rise. Those without pages have been found by what recurs."""
    matches = [match for line in entries if len(line) <= _LONGEST_ENTRY and (match := _ENTRY.fullmatch(line))]
    found = [_read_title((match[1] or match[3]).rstrip(". \t")) in titles for match in matches]
    pages = [int(page) for match in matches if (page := match[2] or match[4]).isdecimal()]
    falling = sum(before > after for before, after in pairwise(pages))
    return sum(found) >= _LEAST_RECURRING * len(found) and falling <= _MOST_FALLING * len(pages)


def _read_title(line: str) -> str:
    """What an entry and the heading that it stands for have in common: the number may be missing in one of them."""
    return _squeeze(_NUMBER.sub("", line, count=1))


def _squeeze(line: str) -> str:
    """Each word with one space behind it."""
    return " ".join([*line.casefold().split(), ""])
