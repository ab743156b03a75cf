"""Texts into an index that finds the exactly nearest one by ROUGE-L F1, and every pair of similar texts.

A common subsequence is never longer than the multiset overlap c of the two texts, so F1 <= 2 c / (m + n). An
inverted index counts c for all texts at once; only those whose bound reaches the best score so far are compared.
Scores are those of rouge-score to the last bit, so that a threshold hit exactly is decided alike.
"""

import math
from array import array
from typing import Any

import numpy as np
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from stages.novelty.rouge import Alphabet, f1

DENSE = 16
LOOK = 32
LOOK_GROWTH = 8
ROUNDING = 1e-9
STATS = [0, 0]


class NoveltyIndex:
    def __init__(self) -> None:
        self._alphabet = Alphabet()
        self._ids: list[str] = []
        self._texts: list[str] = []
        self._lengths = array("q")
        self._postings: dict[tuple[str, int], array[int]] = {}
        self._columns: dict[tuple[str, int], bytearray] = {}

    def add(self, text_id: str, text: str) -> None:
        encoded = self._alphabet.encode(text)
        row = len(self._ids)
        self._ids.append(text_id)
        self._texts.append(encoded)
        self._lengths.append(len(encoded))
        for item in _items(encoded):
            if (column := self._columns.get(item)) is not None:
                column.extend(bytes(row + 1 - len(column)))
                column[row] = 1
                continue
            posting = self._postings.setdefault(item, array("q"))
            posting.append(row)
            if len(posting) > 100 and len(posting) * DENSE > row:
                column = bytearray(row + 1)
                np.frombuffer(column, np.uint8)[np.frombuffer(posting, np.int64)] = 1
                self._columns[item] = column
                del self._postings[item]

    def nearest(self, text: str, floor: float = 0.0) -> tuple[str | None, float]:
        query = self._alphabet.encode(text)
        overlaps = self._overlaps(query)
        peak = int(overlaps.max(initial=0))
        if not peak:
            return None, 0.0
        best = (0.0, 0)
        for least in (peak - 1, 1):
            rows = np.flatnonzero(overlaps >= max(least, _least_overlap(len(query), max(floor, best[0]))))
            bounds = self._bounds(query, rows, overlaps)
            overlaps[rows] = 0
            look = LOOK
            while (near := bounds >= max(floor, best[0]) - ROUNDING).any():
                rows, bounds = rows[near], bounds[near]
                taken = np.argpartition(bounds, -look)[-look:] if len(rows) > look else np.arange(len(rows))
                scores = self._scores(query, rows[taken])
                STATS[0] += len(scores); STATS[1] += 1
                best = max(best, *zip(scores.tolist(), (-rows[taken]).tolist()))
                bounds[taken] = -1
                look *= LOOK_GROWTH
        score, row = best
        if score < floor or not score:
            return None, 0.0
        return self._ids[-row], score

    def matches(self, text: str, floor: float) -> list[tuple[int, float]]:
        query = self._alphabet.encode(text)
        overlaps = self._overlaps(query)
        rows = np.flatnonzero(overlaps >= _least_overlap(len(query), floor))
        rows = rows[self._bounds(query, rows, overlaps) >= floor - ROUNDING]
        if not len(rows):
            return []
        STATS[0] += len(rows); STATS[1] += 1
        scores = self._scores(query, rows)
        keep = scores >= floor
        return list(zip(rows[keep].tolist(), scores[keep].tolist(), strict=True))

    def _overlaps(self, query: str) -> Any:
        overlaps = np.zeros(len(self._ids), np.min_scalar_type(len(query)))
        one = overlaps.dtype.type(1)
        for item in _items(query):
            if (posting := self._postings.get(item)) is not None:
                np.add.at(overlaps, np.frombuffer(posting, np.int64), one)
            elif (column := self._columns.get(item)) is not None:
                view = overlaps[: len(column)]
                np.add(view, np.frombuffer(column, np.uint8), out=view)
        return overlaps

    def _bounds(self, query, rows, overlaps):
        lengths = np.frombuffer(self._lengths, np.int64)[rows]
        return 2.0 * overlaps[rows] / (lengths + len(query))

    def _scores(self, query, rows):
        texts = [self._texts[row] for row in rows.tolist()]
        common = cdist([query], texts, scorer=LCSseq.similarity, dtype=np.int32)[0]
        return f1(common, len(query), np.frombuffer(self._lengths, np.int64)[rows])


def similar_pairs(texts: list[str], threshold: float) -> list[tuple[int, int]]:
    cutoff = threshold - 1e-6
    index = NoveltyIndex()
    pairs = []
    for j, text in enumerate(texts):
        pairs += [(i, j) for i, _ in index.matches(text, cutoff)]
        index.add(str(j), text)
    return sorted(pairs)


def _items(encoded: str) -> list[tuple[str, int]]:
    seen: dict[str, int] = {}
    items = []
    for character in encoded:
        seen[character] = number = seen.get(character, 0) + 1
        items.append((character, number))
    return items


def _least_overlap(length: int, floor: float) -> int:
    return max(1, math.ceil(floor * length / (2 - floor) - ROUNDING))
