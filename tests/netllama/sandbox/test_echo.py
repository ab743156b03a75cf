"""What a script prints is shown without what steers the terminal."""

import pytest

from netllama.sandbox.echo import escape_controls


@pytest.mark.parametrize("text", ["a b", "a\u00a0b", "\u3000", "👩\u200d🔬", "é中", "\u0301"])
def test_what_is_only_seen_is_kept(text: str) -> None:
    assert escape_controls(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[2J", "\\x1b[2J"), ("\x9b", "\\x9b"), ("\u202e", "\\u202e"), ("\ud800", "\\ud800"), ("\u2028", "\\u2028")],
)
def test_what_steers_is_escaped(text: str, shown: str) -> None:
    assert escape_controls(text) == shown


def test_what_is_to_be_kept_is_kept() -> None:
    assert escape_controls("a\nb\r\tc\x07", "\n\r\t") == "a\nb\r\tc\\x07"
