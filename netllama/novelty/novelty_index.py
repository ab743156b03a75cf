"""An index of texts that finds the most similar one by ROUGE-L F1, exactly, and all similar pairs of a list of texts.

A common subsequence of two texts with m and n tokens is at most as long as their multiset overlap c, so
F1 <= 2 c / (m + n). An inverted index counts c for all texts in one pass (repeated tokens are tagged the#1, the#2: Xiao
et al., "Efficient Similarity Joins for Near-Duplicate Detection", TODS 36(3), 2011). Only texts whose bound reaches the
best score so far are compared: 76 of 50,000 on average in bench/novelty.py. Scores equal rouge-score's to the last bit,
so both agree on scores at a threshold: 7 shared tokens of 7 and 13 give 0.7000000000000001, which is above 0.7.
"""

import math
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from netllama.novelty.rouge import TOLERANCE, Alphabet, Encoded, Symbol, compute_f1

Rows = NDArray[np.int64]
Item = tuple[Symbol, int]
"""(encoded token, number of its occurrence): a multiset of tokens is a set of items."""

# An item that occurs in more than 1/16 of the texts is stored as a column with one byte per text. At 50,000 texts,
# adding a column takes 2 us, and adding a posting list 1.3 ns per row. They break even near 1/32; 1/16 is as fast and
# takes half the memory.
DENSE_SHARE = 16
DENSE_ROWS = 100
# So many texts with the highest bounds are compared before the best score found rules out others; then 4 times as many,
# and so on. Comparing all at once took 2.2 times as long at 50,000 texts; starting with 16 or 64 makes no difference.
FIRST_LOOK, LOOK_GROWTH = 32, 4
# The rounding errors of bounds and scores differ by less than 1e-15.
ROUNDING = 1e-9


class NoveltyIndex:
    """The texts added so far; `find_nearest` tells how new another text is."""

    def __init__(self) -> None:
        self._alphabet = Alphabet()
        self._ids: list[str] = []
        self._encoded: list[Encoded] = []
        self._lengths = array("q")
        # Row numbers in ascending order, 4 bytes each.
        self._postings: dict[Item, array[int]] = {}
        self._columns: dict[Item, bytearray] = {}

    def add(self, text_id: str, text: str) -> None:
        encoded, row = self._alphabet.encode(text), len(self._ids)
        self._ids.append(text_id)
        self._encoded.append(encoded)
        self._lengths.append(len(encoded))
        for item in _list_items(encoded):
            if (column := self._columns.get(item)) is not None:
                column.extend(bytes(row + 1 - len(column)))
                column[row] = 1
                continue
            posting = self._postings.setdefault(item, array("i"))
            posting.append(row)
            if len(posting) > max(DENSE_ROWS, row // DENSE_SHARE):
                self._columns[item] = _make_column(self._postings.pop(item))

    def find_nearest(self, text: str, floor: float = 0.0) -> tuple[str | None, float]:
        """(id, ROUGE-L F1) of the most similar text, the earliest of equals; (None, 0.0) if no text reaches `floor`.

        Texts without a shared token score 0 and are never found. A floor (0..1) of 0.7 halves the time.
        """
        query = self._alphabet.encode(text)
        overlaps = self._count_overlaps(query)
        best = 0.0, 0  # the score and the negative row, so that max() prefers the earliest of equals
        # Texts with the largest overlap come first: after their best score most others need not be looked at.
        for least in (int(overlaps.max(initial=0)) - 1, 1):
            rows, bounds = self._select_rows(query, overlaps, max(floor, best[0]), least)
            overlaps[rows] = 0
            look = FIRST_LOOK
            while len(rows):
                taken = np.argpartition(bounds, -look)[-look:] if len(rows) > look else np.arange(len(rows))
                scores = self._score_rows(query, rows[taken])
                best = max(best, *zip(scores.tolist(), (-rows[taken]).tolist(), strict=True))
                bounds[taken] = -1
                left = bounds >= max(floor, best[0]) - ROUNDING
                rows, bounds, look = rows[left], bounds[left], look * LOOK_GROWTH
        score, minus_row = best
        return (self._ids[-minus_row], score) if score and score >= floor else (None, 0.0)

    def find_matches(self, text: str, floor: float) -> list[tuple[int, float]]:
        """(row, counted from 0, and ROUGE-L F1) of every text that shares a token and scores at least `floor`."""
        query = self._alphabet.encode(text)
        rows, _ = self._select_rows(query, self._count_overlaps(query), floor)
        scores = self._score_rows(query, rows)
        return [(row, score) for row, score in zip(rows.tolist(), scores.tolist(), strict=True) if score >= floor]

    def _count_overlaps(self, query: Encoded) -> NDArray[Any]:
        """The number of tokens that each text shares with the query [texts], in the smallest type that holds it."""
        overlaps = np.zeros(len(self._ids), np.min_scalar_type(len(query)))
        items = _list_items(query)
        # One numpy call for all posting lists: one call each took 1.2 times as long on texts of 250 tokens.
        rows = b"".join([self._postings[item] for item in items if item in self._postings])
        np.add.at(overlaps, np.frombuffer(rows, np.int32), overlaps.dtype.type(1))
        for item in items:
            if (column := self._columns.get(item)) is not None:
                head = overlaps[: len(column)]
                np.add(head, np.frombuffer(column, np.uint8), out=head)
        return overlaps

    def _select_rows(
        self, query: Encoded, overlaps: NDArray[Any], floor: float, least: int = 1
    ) -> tuple[Rows, NDArray[np.float64]]:
        """The texts that share at least `least` tokens and may reach `floor`, and the upper bounds of their scores."""
        # A text of any length must share c tokens, where 2 c / (m + c) = floor: this test needs no lengths.
        needed = math.ceil(floor * len(query) / (2 - floor) - ROUNDING)
        rows = np.flatnonzero(overlaps >= max(least, needed, 1))
        bounds = 2 * overlaps[rows].astype(np.float64) / (self._get_lengths(rows) + len(query))
        near = bounds >= floor - ROUNDING
        return rows[near], bounds[near]

    def _score_rows(self, query: Encoded, rows: Rows) -> NDArray[np.float64]:
        if not len(rows):
            return np.empty(0)
        texts = [self._encoded[row] for row in rows.tolist()]
        common = cdist([query], texts, scorer=LCSseq.similarity, dtype=np.int32)[0]
        scores: NDArray[np.float64] = compute_f1(common, len(query), self._get_lengths(rows))
        return scores

    def _get_lengths(self, rows: Rows) -> NDArray[np.int64]:
        return np.frombuffer(self._lengths, np.int64)[rows]


def find_similar_pairs(texts: list[str], threshold: float) -> list[tuple[int, int]]:
    """All pairs (i < j) of `texts` with ROUGE-L F1 >= threshold, in order."""
    index = NoveltyIndex()
    pairs = []
    for j, text in enumerate(texts):
        pairs += [(i, j) for i, _ in index.find_matches(text, threshold - TOLERANCE)]
        index.add(str(j), text)
    return sorted(pairs)


def _list_items(encoded: Encoded) -> list[Item]:
    seen: dict[Symbol, int] = {}
    items = []
    for symbol in encoded:
        seen[symbol] = number = seen.get(symbol, 0) + 1
        items.append((symbol, number))
    return items


def _make_column(posting: "array[int]") -> bytearray:
    column = bytearray(posting[-1] + 1)
    np.frombuffer(column, np.uint8)[np.frombuffer(posting, np.int32)] = 1
    return column
