"""The headings of a plain text: numbered ones, those at the margin of an RFC, those that are underlined."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netllama.documents.numbered_headings import NumberedLine, choose_headings, match_numbered_line
from netllama.documents.text_layout import TextLayout, find_indent

_PLAIN = re.compile(r"[A-Z][\w'’/&(),.-]*(?: [\w'’/&(),.-]+)*")
_UNDERLINE = re.compile(r"([=~^*#+-])\1{2,}")
_LONGEST_PLAIN = 70
"""Characters of a heading without a number, or with a full stop at its end."""
_LEAST_ROWS = 3
"""Fewer may be chapters without a text; but a chapter 1 has one."""


@dataclass(frozen=True)
class FoundHeading:
    line: int
    """Its place in the text."""
    lines: int
    """How many it takes."""
    level: int
    """A number of one part is of level 2, below the title."""
    text: str


def find_headings(lines: Sequence[str], layout: TextLayout) -> list[FoundHeading]:
    """In the order of the text."""
    candidates = _drop_rows(list(_iter_candidates(lines, layout)), lines)
    numbered = [_read_candidate(candidate, lines) for candidate in choose_headings(candidates)]
    taken = {heading.line for heading in numbered}
    others = [*_iter_plain(lines, layout), *_iter_underlined(lines)]
    found = numbered + [heading for heading in others if heading.line not in taken]
    return sorted(found, key=lambda heading: heading.line)


def _begins_group(lines: Sequence[str], at: int) -> bool:
    return bool(lines[at]) and not lines[at][0].isspace() and (at == 0 or not lines[at - 1])


def _line(lines: Sequence[str], at: int) -> str:
    return lines[at] if at < len(lines) else ""


def _iter_candidates(lines: Sequence[str], layout: TextLayout) -> Iterator[NumberedLine]:
    for at, line in enumerate(lines):
        if not line or line[0].isspace():
            continue
        candidate = match_numbered_line(at, line, sure=layout.indented)
        if candidate and (layout.dense or candidate.tabbed or _is_apart(candidate, lines, layout)):
            yield candidate


def _is_apart(candidate: NumberedLine, lines: Sequence[str], layout: TextLayout) -> bool:
    if not layout.wide:
        return _stands_alone(candidate, lines, layout)
    below = _line(lines, candidate.line + 1)
    row = match_numbered_line(0, below)
    counts = candidate.simple is not None and row is not None and row.simple is not None
    return _begins_group(lines, candidate.line) and not counts and not below[:1].isspace()


def _drop_rows(candidates: Sequence[NumberedLine], lines: Sequence[str]) -> list[NumberedLine]:
    """Without what counts line by line, with no text between: rows of a table, entries of a list."""
    runs: list[list[NumberedLine]] = []
    for candidate in candidates:
        if runs and _follows(runs[-1][-1], candidate, lines):
            runs[-1].append(candidate)
        else:
            runs.append([candidate])
    kept: list[NumberedLine] = []
    for at, run in enumerate(runs):
        following = runs[at + 1][0] if at + 1 < len(runs) else None
        few = len(run) < _LEAST_ROWS and not _counts_from_one(run)
        if few or _are_chapters(run, kept, following, lines):
            kept += run
    return kept


def _are_chapters(
    run: Sequence[NumberedLine], kept: Sequence[NumberedLine], following: NumberedLine | None, lines: Sequence[str]
) -> bool:
    """Whether they have no text, but fit between the headings around: chapters that are void, and the one behind."""
    before, first, last = kept[-1].key[0][0] if kept else 0, run[0].key[0][0], run[-1].key[0][0]
    if first <= before:
        return False
    after = following.key[0][0] if following else None
    if following and after == last and following.simple is None:  # its first sub-clause
        return True
    above = next((line for line in reversed(lines[: run[0].line]) if line), "")
    if above.endswith(":") or last - first + 1 != len(run):
        return False
    if not kept:
        return after == last + 1
    is_behind = after is None or after > last or (following is not None and following.simple == 1)  # 1: that of a list
    return first == before + 1 and is_behind


def _follows(row: NumberedLine, candidate: NumberedLine, lines: Sequence[str]) -> bool:
    rises = row.simple is not None and candidate.simple is not None and row.simple < candidate.simple
    return rises and not any(lines[row.line + 1 : candidate.line])


def _counts_from_one(run: Sequence[NumberedLine]) -> bool:
    return [each.simple for each in run] == [1, 2]


def _stands_alone(candidate: NumberedLine, lines: Sequence[str], layout: TextLayout) -> bool:
    if not _begins_group(lines, candidate.line):
        return False
    below = _line(lines, candidate.line + 1)
    text = _read_candidate(candidate, lines).text
    if text[-1] in ".:;" and len(text) > _LONGEST_PLAIN:  # an item of a list that is set as a sentence
        return False
    if not below or (layout.indented and below[0].isspace()):
        return True
    return _count_lines(candidate, lines) == 2 and not _line(lines, candidate.line + 2) and text[-1] not in ".:;"


def _count_lines(candidate: NumberedLine, lines: Sequence[str]) -> int:
    """2 where the title goes on below its begin, or stands below `Annex A (normative):`."""
    below = _line(lines, candidate.line + 1)
    goes_on = bool(below) and find_indent(below) == candidate.title_column
    return 2 if goes_on and (candidate.title_column > 0 or not match_numbered_line(0, below)) else 1


def _read_candidate(candidate: NumberedLine, lines: Sequence[str]) -> FoundHeading:
    count = _count_lines(candidate, lines)
    text = " ".join(" ".join(lines[candidate.line : candidate.line + count]).split())
    return FoundHeading(candidate.line, count, 1 + len(candidate.key), text)


def _iter_plain(lines: Sequence[str], layout: TextLayout) -> Iterator[FoundHeading]:
    """`Abstract`, `Security Considerations`: lines at the margin of an indented text."""
    if not layout.indented:
        return
    for at, line in enumerate(lines):
        below = _line(lines, at + 1)
        alone = _begins_group(lines, at) and (not below or below[0].isspace())
        if alone and len(line) <= _LONGEST_PLAIN and _PLAIN.fullmatch(line) and line[-1] not in ".,":
            yield FoundHeading(at, 1, 2, line)


def _iter_underlined(lines: Sequence[str]) -> Iterator[FoundHeading]:
    """A line and below it a row of `=` or `-`: the level of a character is its place among those of the text."""
    characters: list[str] = []
    for at, line in enumerate(lines):
        below = _UNDERLINE.fullmatch(_line(lines, at + 1))
        if not below or not _begins_group(lines, at) or _line(lines, at + 2) or len(below[0]) < len(line) / 2:
            continue
        if below[1] not in characters:
            characters.append(below[1])
        yield FoundHeading(at, 2, 1 + characters.index(below[1]), line)
