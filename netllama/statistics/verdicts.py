"""Base against tuned in words: each suite is better, worse, or inconclusive, and three sentences say which.

A suite is better or worse if two things agree: its p-value, adjusted for the number of suites (Holm), is at most
0.05, and its interval lies on one side of 0. Everything else is inconclusive, with the smallest difference that the
suite would have shown four times in five.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal, TypeAlias

from scipy.stats import norm, t

from netllama.statistics.difference_tests import FLIPS, adjust_holm, compute_mcnemar_p, compute_permutation_p
from netllama.statistics.intervals import (
    RESAMPLES,
    IntervalEstimate,
    bound_unseen,
    compute_standard_error,
    estimate_difference,
    estimate_mean,
    estimate_proportion,
)
from netllama.statistics.paired_scores import PairedScores

ALPHA = 0.05
POWER = 0.8
Verdict: TypeAlias = Literal["better", "worse", "inconclusive"]


@dataclass(frozen=True)
class SuiteComparison:
    """All that is said of one suite."""

    suite: str
    items: int
    clusters: int
    base: IntervalEstimate
    tuned: IntervalEstimate
    difference: IntervalEstimate
    """tuned - base, whichever direction is better."""
    test: Literal["mcnemar", "permutation"]
    """Which test `p` is of: McNemar's for scores of 0 or 1, the sign-flip permutation test for graded ones."""
    p: float
    p_adjusted: float
    """Among all suites of the comparison."""
    detectable: float
    """The size of a difference that such a suite shows with a probability of 80%; infinite where it can show none."""
    verdict: Verdict

    @property
    def can_show_difference(self) -> bool:
        return isfinite(self.detectable)


@dataclass(frozen=True)
class VerdictSentences:
    """One plain sentence each: what got better, what got worse, what can't be told."""

    better: str
    worse: str
    inconclusive: str


def compare_suites(
    suites: Sequence[PairedScores],
    resamples: int = RESAMPLES,
    flips: int = FLIPS,
    seed: int = 0,
) -> list[SuiteComparison]:
    """A comparison for each suite, in their order. The interval of a suite is its own, not adjusted for the others."""
    tests: list[Literal["mcnemar", "permutation"]] = [
        "mcnemar" if suite.is_binary else "permutation" for suite in suites
    ]
    p_values = [
        compute_mcnemar_p(suite) if test == "mcnemar" else compute_permutation_p(suite, flips, seed)
        for suite, test in zip(suites, tests, strict=True)
    ]
    found = []
    for suite, test, p, adjusted in zip(suites, tests, p_values, adjust_holm(p_values), strict=True):
        difference = estimate_difference(suite, resamples, seed)
        found.append(
            SuiteComparison(
                suite=suite.suite,
                items=len(suite.base),
                clusters=len(set(suite.clusters.tolist())),
                base=_estimate_side(suite, "base", resamples, seed),
                tuned=_estimate_side(suite, "tuned", resamples, seed),
                difference=difference,
                test=test,
                p=p,
                p_adjusted=adjusted,
                detectable=estimate_detectable_difference(suite),
                verdict=judge_difference(difference, adjusted, suite.higher_is_better),
            )
        )
    return found


def _estimate_side(suite: PairedScores, side: Literal["base", "tuned"], resamples: int, seed: int) -> IntervalEstimate:
    values = suite.base if side == "base" else suite.tuned
    if suite.is_binary:
        return estimate_proportion(values, suite.clusters)
    return estimate_mean(values, suite.clusters, suite.weights, resamples, seed)


def judge_difference(difference: IntervalEstimate, p_adjusted: float, higher_is_better: bool) -> Verdict:
    """The word for a difference tuned - base with its interval and its adjusted p-value."""
    if p_adjusted > ALPHA or difference.low <= 0 <= difference.high:
        return "inconclusive"
    return "better" if (difference.low > 0) == higher_is_better else "worse"


def estimate_detectable_difference(paired: PairedScores) -> float:
    """The difference that a test at 5% finds with a probability of 80%, from the spread of these items.

    If all items differ alike (mostly: not at all), there is no spread to go by, and it is the bound of what may have
    been overlooked. Infinite for a single cluster, and for so few that scores between 0 and 1 can't differ enough.
    """
    sums = paired.sum_differences()
    if paired.is_bounded and paired.differ_alike:
        return bound_unseen(len(sums.weights)) if len(sums.weights) > 1 else float("inf")
    effective = float(sums.weights.sum() ** 2 / (sums.weights**2).sum())
    quantile = float(t.ppf(1 - ALPHA / 2, effective - 1)) if effective > 1 else float("inf")
    detectable = (quantile + float(norm.ppf(POWER))) * compute_standard_error(sums)
    return float("inf") if paired.is_bounded and detectable > 1 else detectable


def write_sentences(comparisons: Sequence[SuiteComparison]) -> VerdictSentences:
    """Every suite stands in exactly one of the three sentences."""
    better, worse, inconclusive = (
        [each for each in comparisons if each.verdict == word] for word in ("better", "worse", "inconclusive")
    )
    return VerdictSentences(
        better=f"Better: {_list_phrases([_phrase_difference(each) for each in better])}.",
        worse=f"Worse: {_list_phrases([_phrase_difference(each) for each in worse])}.",
        inconclusive=f"Can't be told: {_list_phrases([_phrase_doubt(each) for each in inconclusive])}.",
    )


def count_verdicts(comparisons: Sequence[SuiteComparison]) -> dict[str, int]:
    """How many suites got better and how many worse."""
    words = [each.verdict for each in comparisons]
    return {"better": words.count("better"), "worse": words.count("worse")}


def _phrase_difference(each: SuiteComparison) -> str:
    interval = f"95% interval {each.difference.low:+.3f} to {each.difference.high:+.3f}"
    return f"{each.suite} {each.base.value:.3f} -> {each.tuned.value:.3f} ({each.difference.value:+.3f}, {interval})"


def _phrase_doubt(each: SuiteComparison) -> str:
    count = f"{each.items} item{'s' * (each.items != 1)}"
    shown = f"which show {each.detectable:.3f}" if each.can_show_difference else "too few to show a difference"
    return f"{each.suite} {each.base.value:.3f} -> {each.tuned.value:.3f} ({count}, {shown})"


def _list_phrases(phrases: Sequence[str]) -> str:
    return "; ".join(phrases) or "nothing"
