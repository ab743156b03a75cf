"""How a plain text is laid out: where its margins are, and what separates its paragraphs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_INDENTED = 0.6
"""An RFC has a larger share of indented lines than that; its art and its tables are indented, too."""
_INDENTED_MEMO = 0.3
"""That of an RFC of a page, which is half front matter."""
_MEMO = re.compile(r"request for comments:|internet-draft\b", re.IGNORECASE)
_FRONT = 20
"""Lines in which a text says that it is an RFC or an Internet-Draft."""
_NARROWEST, _WIDEST = 40, 120
"""Columns of a text that was filled by a program or by hand."""
_SLACK = 0.85
"""Of the width: a line to which the next word could have been added is shorter than that, or it ends a paragraph."""


ITEM = re.compile(r"[ \t]*(?:[-*+o•]|\d{1,2}[.)]|\([a-z0-9]\))[ \t]")
"""What an item of a list begins with."""


@dataclass(frozen=True)
class TextLayout:
    indented: bool
    """All text but the headings begins right of the margin, as in an RFC."""
    dense: bool
    """A paragraph need not have empty lines around it: there are few, or the text is that of a PDF."""
    wide: bool
    """Most of the text is in lines that are a paragraph each."""
    memo: bool
    """It says that it is an RFC or an Internet-Draft."""
    width: int
    """Columns up to which lines are filled; 0: they are not, a paragraph is a line."""


def find_layout(lines: Sequence[str]) -> TextLayout:
    filled = [line for line in lines if line]
    if not filled:
        return TextLayout(indented=False, dense=False, wide=False, memo=False, width=0)
    lengths = sorted(map(len, filled))
    width = lengths[int(0.95 * len(lengths))]
    memo = any(map(_MEMO.match, filled[:_FRONT]))
    return TextLayout(
        indented=sum(find_indent(line) > 1 for line in filled) >= (_INDENTED_MEMO if memo else _INDENTED) * len(filled),
        dense=len(lines) - len(filled) < 0.1 * len(filled),
        wide=width > _WIDEST and sum(length for length in lengths if length > _WIDEST) > sum(lengths) / 2,
        memo=memo,
        width=width if _NARROWEST <= width <= _WIDEST else 0,
    )


def find_indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def is_filled(line: str, following: str, layout: TextLayout) -> bool:
    """Whether the line breaks only since the next one's first word did not fit."""
    if not layout.width or ITEM.match(following):
        return False
    return len(line) + 1 + len(following.split(maxsplit=1)[0]) > _SLACK * layout.width
