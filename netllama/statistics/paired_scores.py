"""Scores of two models on the same items, with the clusters of items that stand or fall together.

Two questions on one fact are not two independent pieces of evidence. Everything here treats a cluster as the unit: it
is resampled as a whole, and its signs are flipped together. An item without a cluster is one by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]


class ClusterSums(NamedTuple):
    """By cluster, the sum of weighted values and the sum of weights: all that a weighted mean needs to know."""

    values: FloatArray
    """(clusters,) or (clusters, columns): one column for each quantity that is resampled in the same draws."""
    weights: FloatArray
    """The same shape as `values`."""


@dataclass(frozen=True)
class PairedScores:
    """What two models scored on the items of one suite. Arrays have one element an item, in the same order.

    A score is a weighted mean of values. Of questions every weight is 1; of a loss the values are nats a token of a
    row and the weights its tokens, so that the mean is the sum of losses over the sum of tokens.
    """

    suite: str
    """As the sentences of a verdict call it."""
    base: FloatArray
    tuned: FloatArray
    clusters: IntArray
    """Equal numbers: one cluster. `number_clusters` makes them from names."""
    weights: FloatArray = field(default_factory=lambda: np.empty(0))
    """Empty: all 1."""
    higher_is_better: bool = True
    """False for a loss."""

    def __post_init__(self) -> None:
        """Raises ValueError for arrays of unequal lengths, for none, and for numbers that are no scores."""
        for name in ("base", "tuned", "weights"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        object.__setattr__(self, "clusters", np.asarray(self.clusters, dtype=np.int64))
        if not self.weights.size:
            object.__setattr__(self, "weights", np.ones(len(self.base)))
        arrays = (self.base, self.tuned, self.clusters, self.weights)
        if not len(self.base) or any(array.shape != (len(self.base),) for array in arrays):
            shapes = ", ".join(str(array.shape) for array in arrays)
            raise ValueError(f"suite {self.suite}: base, tuned, clusters and weights have the shapes {shapes}")
        if not all(np.isfinite(array).all() for array in arrays) or (self.weights <= 0).any():
            raise ValueError(f"suite {self.suite}: a value is not finite, or a weight is not above 0")

    @property
    def is_binary(self) -> bool:
        """Whether every item is right (1) or wrong (0), and counts the same."""
        return bool(np.isin([*self.base, *self.tuned], (0, 1)).all() and (self.weights == 1).all())

    @property
    def is_bounded(self) -> bool:
        """Whether all values lie between 0 and 1."""
        both = np.concatenate((self.base, self.tuned))
        return bool((both >= 0).all() and (both <= 1).all())

    @property
    def differ_alike(self) -> bool:
        """Whether tuned - base is the same number for all items, but for rounding: nothing tells of its spread."""
        return bool(np.ptp(self.tuned - self.base) < 1e-9)

    def sum_differences(self) -> ClusterSums:
        """Of tuned - base."""
        return sum_clusters(self.tuned - self.base, self.clusters, self.weights)


def number_clusters(items: Sequence[str], clusters: Sequence[str]) -> IntArray:
    """A number for the cluster of each item; an item whose cluster is empty gets one of its own.

    The numbers follow the sorted names, so that results don't depend on the order of the items.
    """
    names = [("cluster", name) if name else ("item", item) for item, name in zip(items, clusters, strict=True)]
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([places[name] for name in names], dtype=np.int64)


def sum_clusters(values: ArrayLike, clusters: IntArray, weights: ArrayLike | None = None) -> ClusterSums:
    """The sums by cluster, in the order of the clusters' numbers. `weights` None: all 1."""
    found = np.asarray(values, dtype=np.float64)
    weighed = np.ones(found.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    _, places = np.unique(clusters, return_inverse=True)
    values_by_cluster: FloatArray = np.bincount(places, found * weighed).astype(np.float64)
    return ClusterSums(values_by_cluster, np.bincount(places, weighed).astype(np.float64))
