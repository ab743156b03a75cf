"""p-values for "the tuned model scores like its base" on the same items, and what many of them at once are worth.

Under that hypothesis tuned - base of a cluster might as well have had the other sign. Both tests flip these signs.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.stats import binom

from netllama.statistics.paired_scores import FloatArray, PairedScores

FLIPS = 10_000
EXHAUSTIVE = 13
"""Up to so many clusters that differ, every combination of signs is tried: 8,192 of them."""
_CHUNK = 4_000_000


def compute_mcnemar_p(paired: PairedScores) -> float:
    """McNemar's mid-p (Fagerland, Lydersen and Laake, BMC Med Res Methodol 2013) for items that are right or wrong.

    Only items on which the models differ count. Of items without clusters it is the binomial test with half the
    probability of what was seen; clusters flip as a whole, and the exact distribution of their sum takes the place of
    the binomial one. Raises ValueError for scores other than 0 and 1.
    """
    if not paired.is_binary:
        raise ValueError(f"suite {paired.suite}: McNemar's test is for scores of 0 or 1 without weights")
    gains = np.abs(np.rint(paired.sum_differences().values)).astype(np.int64)
    gains = gains[gains > 0]
    if not gains.size:
        return 1.0
    sizes, numbers = np.unique(gains, return_counts=True)
    chances = _distribute_sums(tuple(sizes.tolist()), tuple(numbers.tolist()))
    reach = int(gains.sum())
    sums = np.abs(np.arange(-reach, reach + 1))
    seen = abs(int(np.rint((paired.tuned - paired.base).sum())))
    return min(1.0, float(chances[sums > seen].sum() + chances[sums == seen].sum() / 2))


@lru_cache(maxsize=1024)
def _distribute_sums(sizes: tuple[int, ...], numbers: tuple[int, ...]) -> FloatArray:
    """The probabilities of all sums, from the least, of `numbers` of gains of each of the `sizes` with random signs."""
    chances = np.ones(1)
    for size, number in zip(sizes, numbers, strict=True):
        own = np.zeros(2 * size * number + 1)
        own[:: 2 * size] = binom.pmf(np.arange(number + 1), number, 0.5)
        chances = np.convolve(chances, own)
    return chances


def compute_permutation_p(paired: PairedScores, flips: int = FLIPS, seed: int = 0) -> float:
    """The sign-flip test for graded scores: exact for few clusters that differ, else from `flips` random flips."""
    sums = paired.sum_differences().values
    sums = sums[sums != 0]
    if not sums.size:
        return 1.0
    if len(sums) <= EXHAUSTIVE:
        signs = 1.0 - 2.0 * ((np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1)
        return float(_reaches(signs @ sums[:, None], sums[:, None]).mean())
    return float(flip_signs(sums[:, None], flips, seed)[0])


def flip_signs(sums: FloatArray, flips: int = FLIPS, seed: int = 0) -> FloatArray:
    """(columns,): p-values of the columns of `sums` (clusters, columns) from random flips.

    What was seen counts as one of the flips, so that p is never 0 and the test never too bold (Phipson and Smyth 2010).
    """
    random = np.random.default_rng(seed)
    clusters = len(sums)
    reached = np.ones(sums.shape[1])
    for start in range(0, flips, rows := max(1, _CHUNK // clusters)):
        drawn = min(rows, flips - start)
        bits = np.unpackbits(np.frombuffer(random.bytes((drawn * clusters + 7) // 8), np.uint8))[: drawn * clusters]
        signs = 1.0 - 2.0 * bits.reshape(drawn, clusters)
        reached += _reaches(signs @ sums, sums).sum(axis=0)
    result: FloatArray = reached / (flips + 1)
    return result


def _reaches(flipped: FloatArray, sums: FloatArray) -> FloatArray:
    """Whether each flipped sum is as far from 0 as what was seen; sums that differ by rounding alone are equal."""
    result: FloatArray = (np.abs(flipped) >= np.abs(sums.sum(axis=0)) - 1e-9 * np.abs(sums).sum(axis=0)).astype(float)
    return result


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm, Scandinavian Journal of Statistics 1979), in the given order.

    Rejecting those of at most 0.05 rejects a true hypothesis in at most 5% of all experiments, in any of the suites.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = largest
    return adjusted
