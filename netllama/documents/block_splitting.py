"""Where a block may be cut: each way of cutting gives parts, and what stands between them."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from netllama.documents.document import BlockKind

Part = tuple[str, str]
"""What stands in front of a part, which is left out where a chunk begins with it, and the part's text."""
Splitter = Callable[[str], list[Part]]

_LINE_END = re.compile(r"\n(?:[ \t]*\n)*")
_SPACE = re.compile(r"\s+")
_ITEM = re.compile(r"([ \t]*)(?:[-*+o•]|\d{1,9}[.)])(?=\s)")
# A full stop, quotes and brackets that close, then a space, then what can begin a sentence; or a CJK full stop.
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)\]*_`]*(\s+)(?=[\"'“‘(\[*_`]*[^\W_a-z])|(?<=[。！？])()(?=\S)")
_ABBREVIATION = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|cf|vs|fig|figs|sec|sect|no|eq|resp|approx|dr|ed|[a-z])\.$", re.I)


def split_lines(text: str) -> list[Part]:
    return _split_at((match.span() for match in _LINE_END.finditer(text)), text)


def split_items(text: str) -> list[Part]:
    """A list at the markers that stand as far to the left as the first one."""
    marker = _ITEM.match(text)
    if not marker:
        return [("", text)]
    begin = re.compile(rf"\n(?:[ \t]*\n)*(?={re.escape(marker[1])}(?:[-*+o•]|\d{{1,9}}[.)])\s)")
    return _split_at((match.span() for match in begin.finditer(text)), text)


def split_sentences(text: str) -> list[Part]:
    ends = (match.span(1) if match[1] is not None else match.span(2) for match in _SENTENCE_END.finditer(text))
    return _split_at((span for span in ends if not _ABBREVIATION.search(text[max(0, span[0] - 10) : span[0]])), text)


def split_words(text: str) -> list[Part]:
    return _split_at((match.span() for match in _SPACE.finditer(text)), text)


def halve_word(text: str) -> list[Part]:
    middle = len(text) // 2
    return [("", text[:middle]), ("", text[middle:])] if middle else [("", text)]


_FINER: tuple[Splitter, ...] = (split_sentences, split_words, halve_word)
SPLITTERS: Mapping[BlockKind, Sequence[Splitter]] = {
    "prose": _FINER,
    "lines": (split_lines, *_FINER),
    "list": (split_items, *_FINER),
    "code": (split_lines, *_FINER[1:]),
    "table": (split_lines, *_FINER[1:]),
}
"""By the kind of a block, the ways to cut it, the coarsest first. The last one may be taken again and again."""


def _split_at(spans: Iterator[tuple[int, int]], text: str) -> list[Part]:
    """The text between the spans; a span at its begin or end cuts nothing off, so that a line keeps its indent."""
    parts: list[Part] = []
    begin, joint = 0, ""
    for start, end in spans:
        if start > begin and end < len(text) and text[begin:start].strip():
            parts.append((joint, text[begin:start]))
            begin, joint = end, text[start:end]
    return [*parts, (joint, text[begin:])]
