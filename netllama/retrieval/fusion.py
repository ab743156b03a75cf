"""Several rankings to one, by reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009)."""

import math
from collections.abc import Sequence

from netllama.retrieval.hits import Hit

RANK_OFFSET = 60
"""The paper's constant: how little the first ranks are worth more than the next."""


def fuse_rankings(rankings: Sequence[Sequence[Hit]], k: int) -> list[Hit]:
    """The best `k` of all hits, ties by id: each scores the sum of 1 / (60 + its rank, from 1) over the rankings.

    A ranking that does not hold a text adds nothing to it. All rankings are over the same texts.
    """
    parts: dict[str, list[float]] = {}
    positions: dict[str, int] = {}
    for ranking in rankings:
        for rank, hit in enumerate(ranking, 1):
            parts.setdefault(hit.id, []).append(1 / (RANK_OFFSET + rank))
            positions[hit.id] = hit.position
    # fsum rounds once, so that the order of the rankings makes no difference.
    fused = [Hit(name, positions[name], math.fsum(scores)) for name, scores in parts.items()]
    return sorted(fused, key=lambda hit: (-hit.score, hit.id))[: max(0, k)]
