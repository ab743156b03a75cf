"""The counts of terms to BM25 scores, a column of them for each term: what a search adds up.

The formula is Lucene's, as bm25s computes it, to the bit (Kamphuis et al., "Which BM25 do you mean?", ECIR 2020):

    log(1 + (N - n + 0.5) / (n + 0.5)) * f / (f + k1 * (1 - b + b * l / L))

N texts, n of which hold the term, f times in this one; l terms in this text, L in the mean. bm25s 0.3.16 itself takes
the terms of all texts as Python lists and sorts all pairs at once: twice the memory at 100,000 chunks
(docs/retrieval.md). Here the batches are written into their columns, which needs the scores and the counts, no more.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netllama.retrieval.string_table import StringTable
from netllama.retrieval.term_counts import TermCounts

K1, B = 1.5, 0.75


@dataclass(frozen=True)
class ScoreMatrix:
    """Sparse, a column for each term: its texts in order, and what the term adds to the score of each."""

    number: int
    """Of texts."""
    terms: StringTable
    """Sorted."""
    starts: NDArray[np.int64]
    """(terms + 1,): where the column of each term begins in the next two."""
    texts: NDArray[np.int32]
    """(pairs,): the positions of the texts."""
    scores: NDArray[np.float32]
    """(pairs,): above 0."""
    peaks: NDArray[np.float32]
    """(terms,): the highest score of each column."""


def compute_scores(batches: Iterable[TermCounts]) -> ScoreMatrix:
    """The matrix of all texts, in the order of the batches. It is the same for any size of batches."""
    kept, numbers, vocabulary = _number_terms(batches)
    order = sorted(range(len(vocabulary)), key=vocabulary.__getitem__)
    columns = np.empty(len(order), np.int64)
    columns[order] = np.arange(len(order))
    terms = StringTable.pack([vocabulary[place] for place in order])

    holders = np.zeros(len(order), np.int64)
    for batch, found in zip(kept, numbers, strict=True):
        holders[columns[found]] += batch.texts_of_term
    starts = np.concatenate([[0], np.cumsum(holders)])
    number = sum(len(batch.lengths) for batch in kept)
    rarity = np.array([_weigh_rarity(int(texts), number) for texts in holders], np.float32)
    mean = sum(int(batch.lengths.sum(dtype=np.int64)) for batch in kept) / max(1, number)

    texts, scores = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    free, first = starts[:-1].copy(), 0
    kept.reverse()
    numbers.reverse()
    while kept:  # a batch is dropped once it is written
        batch, of_terms = kept.pop(), columns[numbers.pop()]
        sizes = batch.texts_of_term
        pairs = np.arange(len(batch.texts)) + np.repeat(free[of_terms] - np.cumsum(sizes) + sizes, sizes)
        free[of_terms] += sizes
        texts[pairs] = batch.texts + np.int32(first)
        damping = K1 * ((1 - B) + B * batch.lengths / (mean or 1.0))
        scores[pairs] = np.repeat(rarity[of_terms], sizes) * (batch.times / (damping[batch.texts] + batch.times))
        first += len(batch.lengths)
    peaks = np.maximum.reduceat(scores, starts[:-1]) if len(order) else np.empty(0, np.float32)
    return ScoreMatrix(number, terms, starts, texts, scores, peaks)


def _number_terms(batches: Iterable[TermCounts]) -> tuple[list[TermCounts], list[NDArray[np.int64]], list[str]]:
    """The batches without their strings, the numbers of the terms of each, and the terms in the order of numbers."""
    numbers: dict[str, int] = {}
    kept, found = [], []
    for batch in batches:
        found.append(np.array([numbers.setdefault(term, len(numbers)) for term in batch.terms], np.int64))
        small = batch.times.astype(np.min_scalar_type(batch.times.max(initial=0)))
        kept.append(TermCounts([], batch.texts_of_term, batch.texts, small, batch.lengths))
    return kept, found, list(numbers)


def _weigh_rarity(texts: int, number: int) -> float:
    """The inverse document frequency of a term that `texts` of `number` texts hold."""
    return math.log(1 + (number - texts + 0.5) / (texts + 0.5))
