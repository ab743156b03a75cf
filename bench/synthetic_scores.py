"""Synthetic scores whose truth is known: many experiments at once, with items alone or in clusters that agree.

Each experiment is a column. A normal variable for each item, half of whose variance is its cluster's, is mapped to the
distribution of scores that is wanted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, norm

from netllama.statistics.paired_scores import ClusterSums, FloatArray, IntArray

AGREEMENT = 0.5
"""The share of the variance that the items of a cluster have in common."""


@dataclass(frozen=True)
class SyntheticScores:
    """The same kind of items in many experiments."""

    values: FloatArray
    """(items, experiments)"""
    clusters: IntArray
    """(items,)"""
    weights: FloatArray
    """(items, experiments)"""
    truth: float
    """The mean that the values were drawn from."""

    def sum_columns(self) -> ClusterSums:
        """The sums by cluster of every experiment, to resample in the same draws."""
        member = np.zeros((int(self.clusters.max()) + 1, len(self.clusters)))
        member[self.clusters, np.arange(len(self.clusters))] = 1
        return ClusterSums(member @ (self.values * self.weights), member @ self.weights)


def lay_out_alone(items: int) -> IntArray:
    return np.arange(items)


def lay_out_pairs(items: int) -> IntArray:
    """Three items in five alone, the others in pairs: like data/questions/, but with more clusters."""
    alone = items * 3 // 5
    return np.concatenate((np.arange(alone), alone + np.arange(items - alone) // 2))


def lay_out_groups(items: int) -> IntArray:
    """Clusters of one to four items in turn."""
    sizes = np.resize([1, 2, 3, 4], items)
    return np.repeat(np.arange(items), sizes)[:items]


LAYOUTS: dict[str, Callable[[int], IntArray]] = {
    "alone": lay_out_alone,
    "pairs": lay_out_pairs,
    "groups": lay_out_groups,
}


def draw_normals(clusters: IntArray, experiments: int, random: np.random.Generator) -> FloatArray:
    """(items, experiments): standard normal; items of one cluster correlate by AGREEMENT."""
    shared = random.standard_normal((int(clusters.max()) + 1, experiments))[clusters]
    result: FloatArray = np.sqrt(AGREEMENT) * shared + np.sqrt(1 - AGREEMENT) * random.standard_normal(shared.shape)
    return result


def draw_hits(clusters: IntArray, experiments: int, share: float, random: np.random.Generator) -> SyntheticScores:
    """Right or wrong, with `share` of them right."""
    hits = (draw_normals(clusters, experiments, random) < norm.ppf(share)).astype(np.float64)
    return SyntheticScores(hits, clusters, np.ones(hits.shape), share)


def draw_grades(
    clusters: IntArray, experiments: int, shape: tuple[float, float], random: np.random.Generator
) -> SyntheticScores:
    """Graded scores of a beta distribution: (1, 5) are low and skewed like ROUGE-L, (0.5, 0.5) mostly near 0 and 1."""
    grades = beta.ppf(norm.cdf(draw_normals(clusters, experiments, random)), *shape)
    return SyntheticScores(grades, clusters, np.ones(grades.shape), shape[0] / sum(shape))


def draw_changes(
    clusters: IntArray, experiments: int, gained: float, lost: float, random: np.random.Generator
) -> SyntheticScores:
    """Differences of right or wrong answers: `gained` of them 1, `lost` of them -1, the others 0."""
    places = norm.cdf(draw_normals(clusters, experiments, random))
    changes = (places > 1 - gained).astype(np.float64) - (places < lost)
    return SyntheticScores(changes, clusters, np.ones(changes.shape), gained - lost)


def draw_shifts(clusters: IntArray, experiments: int, shift: float, random: np.random.Generator) -> SyntheticScores:
    """Differences of graded scores: symmetric around `shift`, standard deviation 0.3."""
    shifts = shift + 0.3 * draw_normals(clusters, experiments, random)
    return SyntheticScores(shifts, clusters, np.ones(shifts.shape), shift)


def draw_losses(clusters: IntArray, experiments: int, random: np.random.Generator) -> SyntheticScores:
    """Nats a token of rows of very different lengths (log-normal, standard deviation 0.8), weighted by tokens."""
    losses = np.exp(1 + 0.3 * draw_normals(clusters, experiments, random))
    tokens = np.ceil(np.exp(random.normal(4.5, 0.8, losses.shape)))
    return SyntheticScores(losses, clusters, tokens, float(np.exp(1 + 0.3**2 / 2)))


def draw_loss_shifts(
    clusters: IntArray, experiments: int, shift: float, random: np.random.Generator
) -> SyntheticScores:
    """Differences of such losses."""
    shifts = shift + 0.3 * draw_normals(clusters, experiments, random)
    tokens = np.ceil(np.exp(random.normal(4.5, 0.8, shifts.shape)))
    return SyntheticScores(shifts, clusters, tokens, shift)
