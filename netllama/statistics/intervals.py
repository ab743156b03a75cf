"""Intervals for proportions, means, differences and ratios, which know of clusters. `bench/statistics.py` checks them.

Two methods, both chosen by that simulation:

- a proportion has Wilson's interval (Wilson, JASA 1927), with the number of items divided by the design effect of the
  clusters (Kish, Survey Sampling, 1965): a bootstrap of few zeros or ones covers 86 to 93% where 95% is claimed;
- a mean, a difference or a ratio has the percentile interval of a bootstrap over whole clusters, at the levels of
  Student's t distribution (the expanded percentile interval: Hesterberg, The American Statistician, 2015). With the
  plain percentile interval 95% are 90 to 94% at 40 items; BCa is no better, and worse for differences that are mostly
  0 (89%).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, t

from netllama.statistics.paired_scores import ClusterSums, FloatArray, IntArray, PairedScores, sum_clusters

RESAMPLES = 10_000
CONFIDENCE = 0.95
_CHUNK = 4_000_000
"""Numbers drawn at a time: 32 MB."""


@dataclass(frozen=True)
class IntervalEstimate:
    """A value and its interval. Both ends are infinite where a single cluster says nothing of the spread."""

    value: float
    low: float
    high: float


def estimate_proportion(values: ArrayLike, clusters: IntArray) -> IntervalEstimate:
    """The share of ones in `values` (0 or 1 each), with Wilson's interval."""
    sums = sum_clusters(values, clusters)
    items = sums.weights.sum()
    share = float(sums.values.sum() / items)
    low, high = compute_wilson_interval(share, items / compute_design_effect(sums))
    return IntervalEstimate(share, low, high)


def compute_wilson_interval(share: float, items: float) -> tuple[float, float]:
    """For a proportion `share` of `items`, which need not be a whole number."""
    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    middle = (share + z * z / (2 * items)) / (1 + z * z / items)
    half = z / (1 + z * z / items) * np.sqrt(share * (1 - share) / items + z * z / (4 * items * items))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def compute_design_effect(sums: ClusterSums) -> float:
    """By how much clusters multiply the variance of a proportion; 1 where each item is a cluster, never less.

    It is an estimate itself, so it is raised by t / z, which makes up for what few clusters hide (Korn and Graubard
    take the square of it, which covers 98% at 20 clusters). If all items agree, nothing is known of how much a cluster
    has in common, and its items count as one.
    """
    clusters, items = len(sums.weights), sums.weights.sum()
    if clusters == items:
        return 1.0
    share = sums.values.sum() / items
    independent = share * (1 - share) / items
    if independent == 0 or clusters == 1:
        return float(items / clusters)
    level = (1 + CONFIDENCE) / 2
    caution = float(t.ppf(level, clusters - 1) / norm.ppf(level))
    return caution * max(1.0, float(compute_standard_error(sums) ** 2 / independent))


def compute_standard_error(sums: ClusterSums) -> float:
    """Of a weighted mean, by linearisation over clusters; infinite for a single one."""
    clusters = len(sums.weights)
    if clusters < 2:
        return float("inf")
    residuals = sums.values - sums.values.sum() / sums.weights.sum() * sums.weights
    return float(np.sqrt(clusters / (clusters - 1) * (residuals**2).sum()) / sums.weights.sum())


def estimate_mean(
    values: ArrayLike,
    clusters: IntArray,
    weights: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> IntervalEstimate:
    """The (weighted) mean, with the bootstrap's interval.

    Of losses in nats a token, weighted by tokens, it is the sum of losses over the sum of tokens.
    """
    return _estimate(sum_clusters(values, clusters, weights), resamples, seed)


def estimate_perplexity(loss: IntervalEstimate) -> IntervalEstimate:
    """exp of a loss: percentiles stay percentiles."""
    return IntervalEstimate(*(float(np.exp(bound)) for bound in (loss.value, loss.low, loss.high)))


def estimate_difference(paired: PairedScores, resamples: int = RESAMPLES, seed: int = 0) -> IntervalEstimate:
    """tuned - base, with the bootstrap's interval.

    Resampling items that all differ alike (mostly: not at all) shows no spread. Of scores between 0 and 1 the interval
    is then what the mean may be if a share of `bound_unseen` is unlike them, at the most 1 lower or higher.
    """
    sums = paired.sum_differences()
    if paired.is_bounded and paired.differ_alike and len(sums.weights) > 1:
        value, bound = float(paired.tuned[0] - paired.base[0]), bound_unseen(len(sums.weights))
        return IntervalEstimate(value, value * (1 - bound) - bound, value * (1 - bound) + bound)
    return _estimate(sums, resamples, seed)


def bound_unseen(clusters: int) -> float:
    """The largest share of all clusters that may differ from those seen, one way, if all `clusters` seen are alike.

    Source: Clopper and Pearson, Biometrika 1934.
    """
    return float(1 - ((1 - CONFIDENCE) / 2) ** (1 / clusters))


def _estimate(sums: ClusterSums, resamples: int, seed: int) -> IntervalEstimate:
    value = float(sums.values.sum() / sums.weights.sum())
    columns = ClusterSums(sums.values[:, None], sums.weights[:, None])
    low, high = compute_bootstrap_intervals(columns, resamples, seed)
    return IntervalEstimate(value, min(value, float(low[0])), max(value, float(high[0])))


def compute_bootstrap_intervals(
    sums: ClusterSums, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """The ends of the intervals of weighted means, for each column of `sums` (clusters, columns).

    The levels are those of t with the effective number of clusters (Kish), which is less than their number where few
    of them hold most of the weight.
    """
    weights = sums.weights
    if len(weights) < 2:
        return np.full(weights.shape[1], -np.inf), np.full(weights.shape[1], np.inf)
    effective = weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0)
    # A single cluster may hold nearly all weight: then t has no degree of freedom left, and the extremes are taken.
    freedom = np.maximum(effective - 1, 1e-6)
    level = norm.cdf(-np.sqrt(1 + 1 / freedom) * t.ppf((1 + CONFIDENCE) / 2, freedom))
    means = np.sort(resample_means(sums, resamples, seed), axis=0)
    return _interpolate(means, level), _interpolate(means, 1 - level)


def resample_means(sums: ClusterSums, resamples: int, seed: int) -> FloatArray:
    """(resamples, columns): the weighted means of samples of whole clusters, drawn with replacement."""
    random = np.random.default_rng(seed)
    clusters = len(sums.weights)
    means = []
    for start in range(0, resamples, rows := max(1, _CHUNK // clusters)):
        drawn = min(rows, resamples - start)
        places = random.integers(clusters, size=(drawn, clusters)) + clusters * np.arange(drawn)[:, None]
        times = np.bincount(places.ravel(), minlength=drawn * clusters).reshape(drawn, clusters).astype(np.float64)
        means.append((times @ sums.values) / (times @ sums.weights))
    return np.concatenate(means)


def _interpolate(ordered: FloatArray, level: FloatArray) -> FloatArray:
    """The quantile `level` (columns,) of each column of `ordered`, as numpy interpolates it."""
    place = level * (len(ordered) - 1)
    below = np.floor(place).astype(np.int64)
    columns = np.arange(ordered.shape[1])
    left, right = ordered[below, columns], ordered[np.minimum(below + 1, len(ordered) - 1), columns]
    result: FloatArray = left + (right - left) * (place - below)
    return result
