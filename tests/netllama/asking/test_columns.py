"""Two texts in columns: what a terminal shows of them, played back by a small terminal of the tests."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.asking.columns import (
    BORDER,
    LiveColumns,
    choose_column_width,
    clean_text,
    join_columns,
    measure_width,
    wrap_text,
)

TEXTS = st.text(alphabet="ab cd\n中é\u0301", max_size=80)


def play(written: str, lines: int) -> list[str]:
    """The rows that a terminal of `lines` lines shows in the end, those that have left it above included.

    Knows what LiveColumns sends: line ends, carriage returns, ESC[nA, ESC[J.
    """
    rows, at = [""], 0
    for part in re.findall(r"\x1b\[\d*[AJ]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\n":
            at += 1
            rows += [""] * (at + 1 - len(rows))
        elif part.endswith("A") and part.startswith("\x1b"):
            highest = max(0, len(rows) - lines)
            at -= int(part[2:-1])
            assert at >= highest, "the cursor can't leave the screen"
        elif part == "\x1b[J":
            del rows[at + 1 :]
            rows[at] = ""
        elif part != "\r":
            rows[at] += part
    return rows


@given(text=TEXTS, width=st.integers(2, 12))
def test_rows_fit_and_hold_every_word(text: str, width: int) -> None:
    rows = wrap_text(text, width)
    assert all(measure_width(row) <= width for row in rows)
    assert "".join("".join(rows).split()) == "".join(text.split())


@given(text=TEXTS, width=st.integers(2, 12), cut=st.integers(0, 80))
def test_no_row_but_the_last_changes_as_the_text_grows(text: str, width: int, cut: int) -> None:
    before = wrap_text(text[:cut].rstrip(), width)
    assert wrap_text(text, width)[: len(before) - 1] == before[:-1]


def test_lines_break_at_spaces_and_code_keeps_its_indent() -> None:
    assert wrap_text("An AS path lists systems", 10) == ["An AS path", "lists", "systems"]
    assert wrap_text("    for elem in stream:", 12) == ["    for elem", "in stream:"]
    assert wrap_text("192.0.2.0/24,198.51.100.0/24", 14) == ["192.0.2.0/24,1", "98.51.100.0/24"]
    assert wrap_text("a\n\nb", 5) == ["a", "", "b"]


def test_what_would_steer_the_terminal_is_shown_instead() -> None:
    assert clean_text("a\x1b[2Jb\rc\td\r\ne\u202ef\u00a0g") == "a\\x1b[2Jb\\rc    d\ne\\u202ef g"


def test_a_terminal_that_is_too_narrow_for_two_has_no_columns() -> None:
    assert choose_column_width(120) == 58
    assert choose_column_width(75) == 36
    assert choose_column_width(74) == 0


@given(
    texts=st.tuples(TEXTS, TEXTS),
    steps=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20),
    lines=st.integers(2, 9),
)
def test_a_terminal_shows_both_texts_in_the_end_however_they_grew(
    texts: tuple[str, str], steps: list[tuple[int, int]], lines: int
) -> None:
    texts = tuple(text.strip() for text in texts)  # type: ignore[assignment]
    out = io.StringIO()
    columns = LiveColumns(out, 10, lines)
    ends = [0, 0]
    for step in steps:
        ends = [min(end + more, len(text)) for end, more, text in zip(ends, step, texts, strict=True)]
        growing = [text[:end].rstrip() for text, end in zip(texts, ends, strict=True)]
        columns.show(growing, [end == len(text) for end, text in zip(ends, texts, strict=True)])
    columns.show(texts, [True, True])
    left, right = (wrap_text(text, 10) for text in texts)
    height = max(len(left), len(right))
    padded = [rows + [""] * (height - len(rows)) for rows in (left, right)]
    expected = [join_columns(one, other, 10) for one, other in zip(*padded, strict=True)]
    assert play(out.getvalue(), lines) == [*expected, ""]


def test_the_column_of_the_slower_one_waits_for_nothing_that_is_drawn_above_the_screen() -> None:
    out = io.StringIO()
    columns = LiveColumns(out, 10, 4)
    columns.show(["\n".join("abcdefgh"), "x"], [False, False])
    assert len(play(out.getvalue(), 4)) == 4, "three rows and the cursor's"
    columns.show(["\n".join("abcdefgh"), "x"], [True, True])
    assert play(out.getvalue(), 4)[0] == f"a         {BORDER}x"
    assert play(out.getvalue(), 4)[-2].startswith("h")


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("中", 2), ("e\u0301", 1)])
def test_widths_are_those_of_a_terminal(text: str, width: int) -> None:
    assert measure_width(text) == width
