"""The earlier rows that a row is near to: from an index of their texts, or from pairs that were found beforehand.

The index compares a row with all earlier ones, which takes twice as long a row when there are twice as many. Pairs come
from MinHash (near_pairs.py). Both give a pair the same score.
"""

from array import array
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from netllama.novelty.distinct_texts import NO_TEXT, DistinctTexts
from netllama.novelty.near_pairs import NearPairs
from netllama.novelty.novelty_index import NoveltyIndex
from netllama.novelty.rouge import TOLERANCE
from netllama.novelty.vocabulary import collect_shared_tokens

_NO_ROW = -1


class Neighbours(Protocol):
    """Rows are asked for in order, and those that get a side are added."""

    def find_matches(self, row: int) -> list[tuple[int, float]]:
        """(earlier row, ROUGE-L F1) for each text of the added rows that the row is near to."""

    def add(self, row: int) -> None: ...


class IndexedRows:
    """Looks through an index of the texts of the added rows."""

    def __init__(self, texts: Sequence[str], threshold: float) -> None:
        self._texts, self._floor = texts, threshold - TOLERANCE
        self._vocabulary = collect_shared_tokens(texts)
        self._index = NoveltyIndex()
        self._rows: list[int] = []
        """By entry of the index: the first row of each text."""
        self._seen: set[str] = set()

    def find_matches(self, row: int) -> list[tuple[int, float]]:
        matches = self._index.find_matches(self._vocabulary.query(self._texts[row]), self._floor)
        return [(self._rows[entry], score) for entry, score in matches]

    def add(self, row: int) -> None:
        text = self._texts[row]
        if text not in self._seen:
            self._seen.add(text)
            self._rows.append(row)
            self._index.add(str(row), self._vocabulary.entry(text))


class PairedRows:
    """Looks up the pairs of the row's text."""

    def __init__(self, texts: DistinctTexts, pairs: NearPairs) -> None:
        self._of_rows = texts.of_rows
        number = max(self._of_rows, default=NO_TEXT) + 1
        self._first = array("i", [_NO_ROW]) * number
        """The first added row of each text."""
        texts_of_pairs = np.concatenate([pairs.first, pairs.second])
        order = np.argsort(texts_of_pairs, kind="stable")
        self._others = np.concatenate([pairs.second, pairs.first]).astype(np.int32)[order]
        self._scores = np.concatenate([pairs.score, pairs.score])[order]
        self._starts = np.searchsorted(texts_of_pairs[order], np.arange(number + 1))

    def find_matches(self, row: int) -> list[tuple[int, float]]:
        text = self._of_rows[row]
        if text == NO_TEXT:
            return []
        own = slice(self._starts[text], self._starts[text + 1])
        found = [(self._first[text], 1.0)]
        found += zip(
            (self._first[other] for other in self._others[own].tolist()), self._scores[own].tolist(), strict=True
        )
        return [(first, score) for first, score in found if first != _NO_ROW]

    def add(self, row: int) -> None:
        text = self._of_rows[row]
        if text != NO_TEXT and self._first[text] == _NO_ROW:
            self._first[text] = row
