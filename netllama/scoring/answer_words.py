"""The words of answers in any script, for measures that are defined on runs of a-z and 0-9 (rouge-score's tokens)."""

import re
import unicodedata

from netllama.novelty.rouge import split_rouge_tokens

_SIGNS = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Of scripts that put no blanks between words (Thai, Lao, kana, Chinese): each counts as a word."""
_MARKS = "".join(chr(code) for code in range(0x300, 0xFFFF) if unicodedata.category(chr(code)) in ("Mn", "Mc"))
"""Vowel signs and accents, which are no letters to `re`."""
_WORD = re.compile(rf"[{_SIGNS}]|(?:(?![{_SIGNS}\x00-\x7f])[\w{_MARKS}])+")


def spell_words(text: str) -> str:
    """The text with a token of x and digits in place of each word of other letters; ASCII stays as it is."""
    if text.isascii():
        return text
    return _WORD.sub(_spell, unicodedata.normalize("NFC", text.lower()))


def split_words(text: str) -> list[str]:
    """rouge-score's tokens of the text, and one for each word of other letters."""
    return split_rouge_tokens(spell_words(text))


def _spell(word: re.Match[str]) -> str:
    # Digits at the end: no rule about English endings applies to it.
    return f" {''.join(f'x{ord(character)}' for character in word[0])} "
