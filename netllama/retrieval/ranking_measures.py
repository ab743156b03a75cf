"""How well rankings serve: recall, mean reciprocal rank and nDCG, as trec_eval computes them, with intervals.

A ranking is ids, best first; what is relevant to a question is a set of ids, each as relevant as the others.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netllama.statistics.intervals import IntervalEstimate, estimate_mean, estimate_proportion
from netllama.statistics.paired_scores import IntArray

CUTOFF = 10
"""Ranks that the reciprocal rank and nDCG look at."""
RECALL_CUTOFFS = (1, 3, 10)


@dataclass(frozen=True)
class RankingQuality:
    """Means over questions, each with a 95% interval."""

    recall: Mapping[int, IntervalEstimate]
    """By cutoff."""
    reciprocal_rank: IntervalEstimate
    """MRR@10."""
    ndcg: IntervalEstimate
    """nDCG@10."""


def compute_recall(ranking: Sequence[str], relevant: Collection[str], cutoff: int) -> float:
    """The share of what is relevant that is among the first `cutoff` of a ranking."""
    return sum(_list_gains(ranking, relevant, cutoff)) / len(relevant)


def compute_reciprocal_rank(ranking: Sequence[str], relevant: Collection[str], cutoff: int = CUTOFF) -> float:
    """1 / the rank of the first relevant one; 0 if it is beyond `cutoff`."""
    gains = _list_gains(ranking, relevant, cutoff)
    return 1 / (gains.index(1) + 1) if 1 in gains else 0.0


def compute_ndcg(ranking: Sequence[str], relevant: Collection[str], cutoff: int = CUTOFF) -> float:
    """Gains discounted by the logarithm of their rank, divided by those of the best ranking (Järvelin and Kekäläinen,
    TOIS 2002)."""
    found = _discount(_list_gains(ranking, relevant, cutoff))
    return found / _discount([1] * min(len(relevant), cutoff))


def measure_rankings(
    rankings: Sequence[Sequence[str]], relevant: Sequence[Collection[str]], clusters: IntArray | None = None
) -> RankingQuality:
    """Quality over questions; those of one cluster stand or fall together (None: each by itself)."""
    groups = np.arange(len(rankings)) if clusters is None else clusters
    pairs = list(zip(rankings, relevant, strict=True))

    def estimate(values: list[float]) -> IntervalEstimate:
        # A bootstrap of few zeros covers less than it claims: a share has Wilson's interval.
        return (estimate_proportion if set(values) <= {0.0, 1.0} else estimate_mean)(values, groups)

    return RankingQuality(
        {cutoff: estimate([compute_recall(*pair, cutoff) for pair in pairs]) for cutoff in RECALL_CUTOFFS},
        estimate([compute_reciprocal_rank(*pair) for pair in pairs]),
        estimate([compute_ndcg(*pair) for pair in pairs]),
    )


def _list_gains(ranking: Sequence[str], relevant: Collection[str], cutoff: int) -> list[int]:
    """1 or 0 by rank. Raises ValueError where nothing is relevant, and where a ranking names an id twice."""
    if not relevant:
        raise ValueError("nothing is relevant: such a question measures no ranking")
    if len(set(ranking)) != len(ranking):
        raise ValueError("a ranking names an id twice")
    return [int(name in relevant) for name in ranking[:cutoff]]


def _discount(gains: Sequence[int]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
