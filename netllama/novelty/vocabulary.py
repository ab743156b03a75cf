"""Templates with the words that can't match blotted out, so that millions of distinct words take no room in an index.

An index keeps a list for each token; 20,000 foreign rows with numbers, hashes and ids in them held more than 1.1
million tokens. One that no two texts share counts by its place alone: in an entry of the index it becomes one token, in
a query another, which never meet. Scores stay what they were.
"""

from collections.abc import Iterable

from netllama.novelty.rouge import split_rouge_tokens

# No template has these as tokens: its numbers are all 0.
_IN_ENTRY, _IN_QUERY = "1", "2"


class Vocabulary:
    """The tokens that an entry and a query may have in common."""

    def __init__(self, shared: set[str]) -> None:
        self._shared = shared

    def entry(self, text: str) -> str:
        return " ".join(token if token in self._shared else _IN_ENTRY for token in split_rouge_tokens(text))

    def query(self, text: str) -> str:
        return " ".join(token if token in self._shared else _IN_QUERY for token in split_rouge_tokens(text))


def collect_tokens(texts: Iterable[str]) -> Vocabulary:
    """The vocabulary of an index of which these are all the entries, or all the queries."""
    return Vocabulary({token for text in texts for token in split_rouge_tokens(text)})


def collect_shared_tokens(texts: Iterable[str]) -> Vocabulary:
    """The vocabulary of texts that are compared with each other: the tokens of two texts or more."""
    once: set[str] = set()
    shared: set[str] = set()
    for text in texts:
        held = set(split_rouge_tokens(text))
        shared |= held & once
        once |= held
    return Vocabulary(shared)
