"""What an answer from documents is worth, by exact rules and no model's opinion.

Right is an answer that says the expected value and no other of its kind: who copies a whole report has said nothing.
Beside it: whether it is the value and nothing else, which documents it cites, whether it refuses, and whether it names
numbers, addresses and systems that stand in no document.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from netllama.rendering.document_texts import REFUSAL

_CITATION = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
"""`[2]`, or several: `[1, 3]`."""
_WORD = re.compile(r"[\w.:/%+-]*[\w%]")
_AMOUNT = re.compile(r"([+-]?\d+(?:\.\d+)?)(%|[kmgt]?bit/s|[kmgt]?bps|[kmg]?hz|dbm?|[mnuµ]?s|min|h)")
"""A number with its unit: `40.5%` is two words, as `40.5 %` is."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_QUOTE = re.compile(r"[\"“„«]([^\"“”„«»]+)[\"”“»]")
_LEAST_QUOTED = 3
_MOST_WORDS = 12
"""Words beside the value that an answer may have where the value is a word that nothing tells from others."""


@dataclass(frozen=True)
class ReadAnswer:
    """An answer in its parts."""

    text: str
    """Without citations."""
    cited: tuple[int, ...]
    """Numbers of documents, in the order of the text."""

    @property
    def refuses(self) -> bool:
        return normalise(self.text) == normalise(REFUSAL)


def split_answer(answer: str) -> ReadAnswer:
    cited = tuple(int(number) for listed in _CITATION.findall(answer) for number in listed.split(","))
    return ReadAnswer(_CITATION.sub(" ", answer).strip(), cited)


def normalise(text: str) -> str:
    """Case, white space and the full stop at the end do not count, also where a citation stood before the stop."""
    return " ".join(text.casefold().split()).rstrip(" .")


def is_exact(text: str, expected: str) -> bool:
    return normalise(text) == normalise(expected)


def says(text: str, expected: str, question: str, choices: Sequence[str] = ()) -> bool:
    """Whether the text says `expected` and no other value of its kind, besides those that the question names."""
    if is_exact(text, expected):
        return True
    words, wanted, asked = (_list_words(each) for each in (text, expected, question))
    if not _holds(words, wanted):
        return False
    if choices:
        return not any(
            _holds(words, _list_words(other)) for other in choices if normalise(other) != normalise(expected)
        )
    shapes = {_describe_shape(word) for word in wanted}
    if shapes == {"a"}:
        return len(words) - len(wanted) <= _MOST_WORDS
    rivals = [word for word in words if _describe_shape(word) in shapes - {"a"}]
    return all(word in wanted or word in asked for word in rivals)


def find_inventions(text: str, sources: Sequence[str]) -> list[str]:
    """The identifiers and numbers of the text that stand in none of `sources`."""
    known = {word for source in sources for word in _list_words(source)}
    return [word for word in _list_words(text) if any(map(str.isdigit, word)) and word not in known]


def find_quotes(text: str) -> list[str]:
    """What stands in quotation marks and has three words or more: fewer may be a name."""
    return [quote for quote in _QUOTE.findall(text) if len(quote.split()) >= _LEAST_QUOTED]


def is_quoted_from(quote: str, sources: Sequence[str]) -> bool:
    """Whether the words of the quote stand in one of `sources` as they are, case and white space apart."""
    wanted = normalise(quote)
    return any(wanted in normalise(source) for source in sources)


def _list_words(text: str) -> list[str]:
    words: list[str] = []
    for word in _WORD.findall(text.casefold()):
        amount = _AMOUNT.fullmatch(word)
        words += amount.groups() if amount else [word]
    return words


def _holds(words: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether `wanted` stands in `words`, its words next to each other."""
    return any(list(words[at : at + len(wanted)]) == list(wanted) for at in range(len(words) - len(wanted) + 1))


def _describe_shape(word: str) -> str:
    """What values of a kind have in common: `as65001` -> a0, `08:15` -> 0:0, `12.5` -> 0; of prefixes that they are."""
    if _NUMBER.fullmatch(word):
        return "0"
    if "/" in word and ("." in word or ":" in word):
        return "prefix"
    return re.sub(r"\d+", "0", re.sub(r"[^\W\d_]+", "a", word))
