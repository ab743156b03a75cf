"""Which lines of a text are numbered headings: `4.1.  Header`, `5.3.5.1 General`, `Annex A (normative): Timers`."""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

_NUMBER = r"\d{1,3}(?:\.\d{1,3}[A-Za-z]{0,2})*"
_LETTERED = r"[A-Z](?:\.\d{1,3}[A-Za-z]{0,2})+"
_ANNEX = r"(?:Annex|ANNEX|Appendix|APPENDIX)[ \t]+[A-Z](?:\.\d{1,3})*"
_HEADING = re.compile(
    rf"(?:(?P<annex>{_ANNEX})(?:[ \t]*\((?:normative|informative)\))?[ \t]*[.:—-]?(?:[ \t]+(?P<annex_title>\S.*))?"
    rf"|(?P<number>{_NUMBER}|{_LETTERED})(?P<dot>\.?)[ \t]+(?P<title>[\"'“(<\[]?[^\W_].*))"
)
_PART = re.compile(r"(\d+|[A-Z]\b)([A-Za-z]*)")
_LONGEST = 120
_AFTER_NUMBERS = 1000
"""What `Annex A` counts as, less the place of its letter: it stands behind every number."""
_LEAST_CHAPTERS = 3
"""Fewer that count on may be lines that happen to begin with 1 and 2."""

Key = tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class NumberedLine:
    """A line that may be a heading."""

    line: int
    """Its place in the text."""
    text: str
    key: Key
    """Its number as parts that compare as numbers do: 5.3.10 is behind 5.3.9a."""
    title_column: int
    """Where its title begins: a second line of it stands below."""
    bare: bool
    """`5 Procedures`, which a number and its unit, `5 MHz`, look like."""

    @property
    def tabbed(self) -> bool:
        """A tab alone parts the number from the title, as 3GPP writes its headings."""
        return self.text.count("\t") == 1 and self.text[self.title_column - 1] == "\t"

    @property
    def simple(self) -> int | None:
        """A number of one part; None: it has several, or it is an annex."""
        return self.key[0][0] if len(self.key) == 1 and self.key[0][0] < _AFTER_NUMBERS else None


def match_numbered_line(line: int, text: str, sure: bool = False) -> NumberedLine | None:
    """None: the line can't be a numbered heading, for instance since it reads like a sentence or a row.

    `sure`: nothing but headings begins at the margin, so that a full stop at the end is one of a heading.
    """
    match = _HEADING.fullmatch(text) if len(text) <= _LONGEST else None
    if not match:
        return None
    if match["annex"]:
        title = match["annex_title"] or ""
        if title and not title[:1].isupper():
            return None
        return NumberedLine(line, text, _read_key(match["annex"].split()[1]), max(match.start("annex_title"), 0), False)
    title, simple = match["title"], "." not in match["number"]
    if title[-1] in ",;" or (title[-1] in ".:" and not sure):
        return None
    if simple and not title.lstrip("\"'“(<[")[:1].isupper():
        return None
    return NumberedLine(line, text, _read_key(match["number"]), match.start("title"), simple and not match["dot"])


def _read_key(number: str) -> Key:
    parts = [_PART.match(part) for part in number.split(".")]
    return tuple(
        (int(part[1]), part[2]) if part[1].isdigit() else (_AFTER_NUMBERS + ord(part[1]), "") for part in parts if part
    )


def choose_headings(candidates: Sequence[NumberedLine]) -> list[NumberedLine]:
    """Those that rise; of the chapters and a list with more numbers in one of them, the chapters."""
    longest = choose_rising(candidates)
    outer = choose_rising(_drop_enclosed(candidates))
    tops = list(dict.fromkeys(candidate.key[0][0] for candidate in outer if candidate.key[0][0] < _AFTER_NUMBERS))
    counts = len(tops) >= _LEAST_CHAPTERS and tops == list(range(tops[0], tops[0] + len(tops)))
    return outer if counts and outer[-1].line >= longest[-1].line else longest


def _drop_enclosed(candidates: Sequence[NumberedLine]) -> list[NumberedLine]:
    """Without what counts from 1 between a chapter and the next one."""
    runs: list[list[NumberedLine]] = []
    """Those that may go on; a later one stands within those before it."""
    ending_in: defaultdict[int, list[int]] = defaultdict(list)
    """By number, the places of the runs that it ends, in their order."""
    dropped: set[int] = set()
    for candidate in candidates:
        number = candidate.simple
        if number is None:
            continue
        if ending_in[number - 1]:
            place = ending_in[number - 1].pop()
            while len(runs) > place + 1:
                run = runs.pop()
                ending_in[run[-1].key[0][0]].pop()
                dropped |= {each.line for each in run}
            runs[place].append(candidate)
        elif number == 1:
            place = len(runs)
            runs.append([candidate])
        else:
            continue
        ending_in[number].append(place)
    return [candidate for candidate in candidates if candidate.line not in dropped]


def choose_rising(candidates: Sequence[NumberedLine]) -> list[NumberedLine]:
    """The longest run of rising numbers; of equal ones the later, since a table of contents comes first.

    Rows of a table and items of a list fall out: their numbers don't rise with those of the text.
    """
    tails: list[Key] = []
    ends: list[int] = []
    before: list[int | None] = []
    for at, candidate in enumerate(candidates):
        length = bisect_left(tails, candidate.key)
        before.append(ends[length - 1] if length else None)
        tails[length : length + 1] = [candidate.key]
        ends[length : length + 1] = [at]
    chosen: list[NumberedLine] = []
    place = ends[-1] if ends else None
    while place is not None:
        chosen.append(candidates[place])
        place = before[place]
    return _drop_alone(chosen[::-1])


def _drop_alone(chosen: Sequence[NumberedLine]) -> list[NumberedLine]:
    """Without a bare number that has no neighbour: neither the number before it, nor the one after, nor one below."""
    tops = [0, *(candidate.key[0][0] for candidate in chosen), -1]
    return [
        candidate
        for before, candidate, after in zip(tops, chosen, tops[2:], strict=False)
        if not candidate.bare or candidate.key[0][0] in (before + 1, after, after - 1)
    ]
