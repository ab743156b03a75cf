"""What a search finds, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from netllama.core.errors import StageError


@dataclass(frozen=True)
class Hit:
    """A text that was found."""

    id: str
    position: int
    """Its place among the texts as they were indexed."""
    score: float


def order_ids(ids: Sequence[str]) -> NDArray[np.int32]:
    """(ids,): the place of each among all ids in order; StageError for an id that two texts have."""
    order = sorted(range(len(ids)), key=ids.__getitem__)
    for one, other in pairwise(order):
        if ids[one] == ids[other]:
            raise StageError(f"id {ids[one]} is used twice: by texts {one + 1} and {other + 1}")
    ranks = np.empty(len(ids), np.int32)
    ranks[order] = np.arange(len(ids), dtype=np.int32)
    return ranks


def rank_scores(scores: NDArray[np.floating], id_ranks: NDArray[np.int32], k: int) -> NDArray[np.int64]:
    """The places of the `k` highest of `scores` (texts,), best first; of equal ones the lowest id first.

    `id_ranks` (texts,) says where each text's id is among all ids in order.
    """
    places = np.arange(len(scores))
    if k < len(scores):
        places = np.flatnonzero(scores >= np.partition(scores, -k)[-k])  # all that tie with the last one
    return places[np.lexsort((id_ranks[places], -scores[places]))][:k]
