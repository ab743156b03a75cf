"""Two texts that grow, side by side on a terminal: rows that can still change are drawn again, the others stay.

Texts are a model's: what would steer the terminal is shown, not obeyed.
"""

import unicodedata
from collections.abc import Sequence
from typing import TextIO

BORDER = " │ "
NARROWEST = 36
"""Characters of a column at least: a line of code breaks in few places then."""
_TAB = "    "


def decode_typed(text: str) -> str:
    """An argument of the command line as UTF-8 text: a byte that is none, which Python escapes, becomes U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def clean_text(text: str) -> str:
    """The text for a terminal: line ends stay, tabs are spaces, other control and format characters are escaped."""
    return "".join(map(_clean, text.replace("\r\n", "\n").replace("\t", _TAB)))


def _clean(character: str) -> str:
    if character == "\n" or character.isprintable():
        return character
    return " " if unicodedata.category(character) == "Zs" else ascii(character)[1:-1]


def measure_width(text: str) -> int:
    """Columns that a cleaned line takes on a terminal."""
    return sum(map(_measure_character, text))


def _measure_character(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrap_text(text: str, width: int) -> list[str]:
    """The rows of a cleaned text in a column of `width` (2 at least), broken at spaces where there are any.

    All rows but the last depend on no text that follows.
    """
    return [row for line in text.split("\n") for row in _wrap_line(line.rstrip(), width)]


def _wrap_line(line: str, width: int) -> list[str]:
    rows = []
    while (end := _count_fitting(line, width)) < len(line):
        words = line.rfind(" ", 0, end + 1)
        if words > 0 and line[:words].strip():
            rows.append(line[:words].rstrip())
            line = line[words:].lstrip()
        else:
            rows.append(line[:end])
            line = line[end:]
    return [*rows, line]


def _count_fitting(line: str, width: int) -> int:
    """The characters from the start of the line that fit."""
    used = 0
    for count, character in enumerate(line):
        used += _measure_character(character)
        if used > width:
            return count
    return len(line)


def choose_column_width(terminal: int) -> int:
    """The width of each of two columns; 0 where the terminal is too narrow for two."""
    width = (terminal - len(BORDER)) // 2
    return width if width >= NARROWEST else 0


def join_columns(left: str, right: str, width: int) -> str:
    return f"{left}{' ' * (width - measure_width(left))}{BORDER}{right}".rstrip()


class LiveColumns:
    """Two columns on a terminal of `lines` lines, from the cursor's line on."""

    def __init__(self, out: TextIO, width: int, lines: int) -> None:
        self._out, self._width, self._lines = out, width, max(2, lines)
        self._printed = self._live = 0

    def show(self, texts: Sequence[str], done: Sequence[bool]) -> None:
        """Draw the two texts, which begin with those shown before; of one that is `done` no row changes any more."""
        columns = [wrap_text(clean_text(text), self._width) for text in texts]
        height = max(map(len, columns))
        settled = min(height if ended else len(rows) - 1 for rows, ended in zip(columns, done, strict=True))
        settled = max(settled, self._printed)
        padded = [rows + [""] * (height - len(rows)) for rows in columns]
        rows = [join_columns(left, right, self._width) for left, right in zip(*padded, strict=True)]
        # What does not fit below waits: a row above the screen's first line can't be drawn again.
        shown = rows[self._printed : settled + self._lines - 1]
        up = f"\x1b[{self._live}A" if self._live else ""
        self._out.write(f"{up}\r\x1b[J" + "".join(f"{row}\n" for row in shown))
        self._out.flush()
        self._live = len(shown) - (settled - self._printed)
        self._printed = settled
