"""The scores of the texts that a query may find, without adding up what can't matter.

This is MaxScore (Turtle and Flood, Information Processing and Management, 1995): rare terms come first. Once the k-th
best score so far is more than all terms that are left can add, no further text can come in: the columns of these terms,
the long ones, are then looked up for the candidates only. What is found is what adding up all columns finds.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from netllama.retrieval.score_matrix import ScoreMatrix

LOOK_UP = 16
"""Adding up a column that has so many times more texts than there are candidates takes longer than looking them up."""
Scores = NDArray[np.float64]


def score_candidates(matrix: ScoreMatrix, query: Mapping[str, int], k: int) -> tuple[NDArray[np.int32], Scores]:
    """Texts in order and their scores, all above 0: the best `k` are among them with all that tie with the last one.

    `query`: how often it holds each term; a term that no text holds adds nothing.
    """
    columns = [
        _Column(matrix, place, times) for term, times in query.items() if (place := matrix.terms.find(term)) is not None
    ]
    columns.sort(key=lambda column: (-column.peak, column.place))
    scores, seen, least, left = np.zeros(matrix.number), 0, 0.0, sum(column.peak for column in columns)
    for number, column in enumerate(columns):
        if k <= seen < len(column.texts):  # cheap beside this column
            texts = np.flatnonzero(scores > 0).astype(np.int32)
            least = max(least, _find_least(scores[texts], k))
            candidates = texts[scores[texts] + left >= least]
            if least > left and LOOK_UP * len(candidates) < len(column.texts):
                return _add_rest(columns[number:], candidates, scores[candidates], k)
        np.add.at(scores, column.texts, column.read(slice(None)))
        seen, left = seen + len(column.texts), left - column.peak
    texts = np.flatnonzero(scores >= least if least > 0 else scores > 0).astype(np.int32)
    return texts, scores[texts]


class _Column:
    """What a term of a query, `times` times in it, adds to the scores of texts."""

    def __init__(self, matrix: ScoreMatrix, place: int, times: int) -> None:
        self.place, self._times = place, times
        column = slice(*matrix.starts[place : place + 2].tolist())
        self.texts, self._scores = matrix.texts[column], matrix.scores[column]
        self.peak = times * float(matrix.peaks[place])

    def read(self, places: slice | NDArray[np.int64]) -> Scores:
        scores = self._scores[places].astype(np.float64)
        return scores if self._times == 1 else scores * self._times


def _add_rest(
    columns: list[_Column], texts: NDArray[np.int32], scores: Scores, k: int
) -> tuple[NDArray[np.int32], Scores]:
    """Add what `columns` give to `scores` of `texts`, and drop the texts that can't be among the best any more."""
    left = sum(column.peak for column in columns)
    for column in columns:
        chosen = scores + left >= _find_least(scores, k)
        texts, scores = texts[chosen], scores[chosen]
        places = np.minimum(np.searchsorted(column.texts, texts), len(column.texts) - 1)
        held = column.texts[places] == texts
        scores[held] += column.read(places[held])
        left -= column.peak
    return texts, scores


def _find_least(scores: Scores, k: int) -> float:
    """The k-th highest score; 0 where there are fewer."""
    return float(np.partition(scores, -k)[-k]) if len(scores) >= k else 0.0
