"""The forms in which texts are compared. They are for comparisons only: no row is ever changed.

`squeeze_text`   for exact duplicates: white space and invisible characters do not count
`fold_text`      case and accents do not count either; `list_words` cuts it into words, for runs of words
`blot_numbers`   for near-duplicates: two tasks that differ only in a number or an address are one task

The last two consist of the tokens of netllama/novelty/rouge.py (runs of a-z and 0-9); a word of any script becomes one.
"""

import re
import unicodedata

# What takes no room on a line: soft hyphens, joiners, direction marks, fillers, the byte order mark.
_ZERO_WIDTH = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
)
INVISIBLE = re.compile(f"[{_ZERO_WIDTH}]")
"""A character that nobody sees. Variation selectors are not among them: they turn a sign into an emoji."""
_NOT_COMPARED = re.compile(f"[{_ZERO_WIDTH}\ufe00-\ufe0f]")
_WORD = re.compile(r"[^\W_]+")
# `dl_throughput_mbps` is one word.
_NAME = re.compile(r"[a-z0-9]+(?:_+[a-z0-9]+)*")
# Scripts that put no space between words, a token a character: Thai, Lao, Burmese, Khmer, kana, CJK ideographs.
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\U00020000-\U0003ffff"
_PIECE = re.compile(f"[{_SPACELESS}]|[^{_SPACELESS}]+")

_GROUP = "[0-9a-f]{1,4}"
_PREFIX_LENGTH = r"(?:/\d{1,3})?(?![0-9a-z:])"
# Each stands for itself alone: every other number of a text becomes `0`.
_PLACEHOLDERS = {
    "0time": (
        r"\d{4}[-/]\d\d[-/]\d\d(?:(?:t|\s+)\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:\s?z\b|[+-]\d\d:?\d\d)?)?(?!\d)"
        r"|\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?![\d:])"
    ),
    "0mac": r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![0-9a-f:-])|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}(?![0-9a-f.])",
    "0ip": (
        r"(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,3})?(?!\d|\.\d)"
        rf"|(?:{_GROUP}:){{7}}{_GROUP}{_PREFIX_LENGTH}|(?:{_GROUP}:){{1,6}}(?::{_GROUP}){{1,6}}{_PREFIX_LENGTH}"
        rf"|(?:{_GROUP}:){{1,7}}:{_PREFIX_LENGTH}|::{_GROUP}(?::{_GROUP}){{0,6}}{_PREFIX_LENGTH}|::/\d{{1,3}}"
    ),
    "0as": r"as\d+(?:\.\d+)?(?![a-z0-9])|asn?[\s:]\d{3,}(?![a-z0-9])",
    "0": r"0x[0-9a-f]+|\d+(?:[.,:]\d+)*",
}
_NAMES = tuple(_PLACEHOLDERS)
_NUMBER = re.compile("(?<![a-z0-9])(?:" + "|".join(f"({pattern})" for pattern in _PLACEHOLDERS.values()) + ")")


def squeeze_text(text: str) -> str:
    """Without differences in compatibility forms (NFKC), white space and invisible characters. Case and punctuation
    count."""
    if not text.isascii():
        text = _NOT_COMPARED.sub("", unicodedata.normalize("NFKC", text))
    return " ".join(text.split())


def fold_text(text: str) -> str:
    """Without differences in case, accents and invisible characters; a word with letters outside ASCII is spelled in
    hexadecimal."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFD", squeeze_text(text).casefold())
    # NFKC once more: folding ends in forms that it would have changed (U+1E9E), and Hangul is composed again.
    plain = unicodedata.normalize("NFKC", "".join(c for c in plain if c.isascii() or unicodedata.category(c)[0] != "M"))
    return _WORD.sub(lambda found: found[0] if found[0].isascii() else _spell(found[0]), plain)


def list_words(text: str) -> list[str]:
    """The words of the folded text; a name with underscores in it is one of them."""
    return _NAME.findall(fold_text(text))


def blot_numbers(text: str) -> str:
    """The folded text with placeholders for times, MAC and IP addresses, prefixes, AS numbers and other numbers."""
    return _NUMBER.sub(lambda found: _NAMES[(found.lastindex or 1) - 1], fold_text(text))


def _spell(word: str) -> str:
    pieces = (piece if piece.isascii() else f"x{piece.encode().hex()}" for piece in _PIECE.findall(word))
    return f" {' '.join(pieces)} "
