"""Whether intervals and tests keep what they promise: synthetic experiments whose truth is known.

A row is thousands of experiments of one kind: how often the 95% interval holds the truth, how often a test of two
equal models says otherwise, how often a difference of the detectable size is found. A bootstrap has 10,000 resamples,
as in `evaluate`. A permutation test has 2,000 flips instead of 10,000, but more experiments. The last
column tells what is claimed for the row. Below 30 clusters nothing is; these rows show how much is lost.

Run    python -m bench.statistics [--check]      (--check: exit code 1 if a row misses its target)
"""

import argparse
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bench.hardware import describe_hardware
from bench.synthetic_scores import (
    LAYOUTS,
    SyntheticScores,
    draw_changes,
    draw_grades,
    draw_hits,
    draw_loss_shifts,
    draw_losses,
    draw_shifts,
)
from netllama.statistics.difference_tests import adjust_holm, compute_mcnemar_p, flip_signs
from netllama.statistics.intervals import RESAMPLES, compute_bootstrap_intervals, estimate_proportion
from netllama.statistics.paired_scores import ClusterSums, FloatArray, IntArray, PairedScores
from netllama.statistics.verdicts import compare_suites, estimate_detectable_difference

BOOTSTRAPPED = {40: 6_000, 100: 4_000, 500: 2_000}
"""By items, the experiments of a row with a bootstrap: most where an interval comes nearest to its limits."""
COUNTED = 20_000
"""Those of a row without one."""
FLIPS = 2_000
BATCH = 500
"""Experiments that are resampled together: 40 MB."""
LEAST_CLUSTERS = 30
COVERAGE = (0.93, 0.97)
FALSE_POSITIVES = (0.0, 0.055)
POWER = (0.75, 0.85)


class Row(NamedTuple):
    """A line of the table: a share of the experiments and what it may be."""

    what: str
    layout: str
    items: int
    clusters: int
    share: float
    claim: tuple[float, float]

    @property
    def is_claimed(self) -> bool:
        return self.clusters >= LEAST_CLUSTERS

    @property
    def holds(self) -> bool:
        return self.claim[0] <= self.share <= self.claim[1]


def cover_by_bootstrap(scores: SyntheticScores, resamples: int = RESAMPLES) -> float:
    sums = scores.sum_columns()
    held = []
    for start in range(0, sums.values.shape[1], BATCH):
        batch = ClusterSums(sums.values[:, start : start + BATCH], sums.weights[:, start : start + BATCH])
        low, high = compute_bootstrap_intervals(batch, resamples)
        held.append((low <= scores.truth + 1e-12) & (scores.truth - 1e-12 <= high))
    return float(np.concatenate(held).mean())


def cover_by_wilson(scores: SyntheticScores) -> float:
    found = [estimate_proportion(column, scores.clusters) for column in scores.values.T]
    return float(np.mean([each.low <= scores.truth <= each.high for each in found]))


def as_pairs(changes: SyntheticScores) -> Iterator[PairedScores]:
    """Right or wrong answers of two models with these changes; where nothing changes, both are right."""
    for column in changes.values.T:
        yield PairedScores("synthetic", (column <= 0).astype(float), (column >= 0).astype(float), changes.clusters)


def reject_by_mcnemar(changes: SyntheticScores) -> FloatArray:
    return np.array([compute_mcnemar_p(pair) for pair in as_pairs(changes)])


def reject_by_flips(scores: SyntheticScores) -> FloatArray:
    sums = scores.sum_columns().values
    parts = [flip_signs(sums[:, start : start + BATCH], FLIPS) for start in range(0, sums.shape[1], BATCH)]
    return np.concatenate(parts)


def measure_layout(layout: str, items: int) -> Iterator[Row]:
    random = np.random.default_rng(items)
    clusters = LAYOUTS[layout](items)
    size, counted = (clusters, BOOTSTRAPPED[items]), (clusters, COUNTED)

    def row(what: str, share: float, claim: tuple[float, float]) -> Row:
        return Row(what, layout, items, int(clusters.max()) + 1, share, claim)

    for share in (0.1, 0.5, 0.9):
        yield row(f"interval: proportion {share}", cover_by_wilson(draw_hits(*counted, share, random)), COVERAGE)
    for shape in ((1.0, 5.0), (0.5, 0.5)):
        name = "interval: mean of skewed grades" if shape[0] == 1 else "interval: mean of grades near 0 and 1"
        yield row(name, cover_by_bootstrap(draw_grades(*size, shape, random)), COVERAGE)
    for gained, lost in ((0.05, 0.05), (0.1, 0.1), (0.15, 0.05), (0.25, 0.25)):
        scores = draw_changes(*size, gained, lost, random)
        yield row(f"interval: {gained:.0%} gained, {lost:.0%} lost", cover_by_bootstrap(scores), COVERAGE)
    yield row("interval: difference of grades", cover_by_bootstrap(draw_shifts(*size, 0.1, random)), COVERAGE)
    yield row("interval: loss a token", cover_by_bootstrap(draw_losses(*size, random)), COVERAGE)
    yield row("interval: difference of losses", cover_by_bootstrap(draw_loss_shifts(*size, -0.2, random)), COVERAGE)
    for each in (0.02, 0.05, 0.1, 0.25):
        p = reject_by_mcnemar(draw_changes(*counted, each, each, random))
        yield row(f"McNemar, equal models, {2 * each:.0%} differ", float((p <= 0.05).mean()), FALSE_POSITIVES)
    p = reject_by_flips(draw_shifts(*counted, 0, random))
    yield row("permutation, equal models, grades", float((p <= 0.05).mean()), FALSE_POSITIVES)
    p = reject_by_flips(draw_loss_shifts(*counted, 0, random))
    yield row("permutation, equal models, losses", float((p <= 0.05).mean()), FALSE_POSITIVES)
    suites = [reject_by_mcnemar(draw_changes(*counted, 0.1, 0.1, random)) for _ in range(2)]
    suites += [reject_by_flips(draw_shifts(*counted, 0, random)) for _ in range(3)]
    any_of_five = [min(adjust_holm(own)) <= 0.05 for own in np.array(suites).T.tolist()]
    yield row("Holm, five suites of equal models", float(np.mean(any_of_five)), FALSE_POSITIVES)
    yield row("power at the detectable difference", measure_power(clusters, 2_000, random), POWER)


def measure_power(clusters: IntArray, experiments: int, random: np.random.Generator) -> float:
    """How often the test finds a difference of the size that an experiment of equal models calls detectable."""
    plain = draw_shifts(clusters, experiments, 0, random)
    nothing = np.zeros(len(clusters))
    sizes = [
        estimate_detectable_difference(PairedScores("synthetic", nothing, column, clusters))
        for column in plain.values.T
    ]
    shifted = draw_shifts(clusters, experiments, float(np.mean(sizes)), random)
    return float((reject_by_flips(shifted) <= 0.05).mean())


def time_comparison() -> float:
    """Seconds to compare seven suites of 500 items, as a report needs it."""
    random = np.random.default_rng(0)
    pairs = next(as_pairs(draw_changes(LAYOUTS["pairs"](500), 1, 0.1, 0.1, random)))
    grades = PairedScores("grades", random.random(500), random.random(500), pairs.clusters)
    start = time.perf_counter()
    compare_suites([pairs] * 4 + [grades] * 3)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a row misses its target")
    arguments = parser.parse_args()
    print(describe_hardware(), f"2,000 to 6,000 experiments with a bootstrap, {COUNTED:,} without", sep="; ")
    print("\n| what | items | clusters | share | claimed |\n|---|---|---|---|---|")
    rows = []
    start = time.perf_counter()
    for layout in LAYOUTS:
        for items in BOOTSTRAPPED:
            for row in measure_layout(layout, items):
                claim = f"{row.claim[0]} to {row.claim[1]}" if row.is_claimed else "nothing"
                remark = " MISSED" * (row.is_claimed and not row.holds)
                print(f"| {row.what} | {items} | {row.clusters} | {row.share:.4f} | {claim}{remark} |", flush=True)
                rows.append(row)
    claimed = [row for row in rows if row.is_claimed]
    missed = [row for row in claimed if not row.holds]
    covered = [row.share for row in claimed if row.claim == COVERAGE]
    wrong = [row.share for row in claimed if row.claim == FALSE_POSITIVES]
    print(
        f"\nstatistics: 95% intervals cover {min(covered):.1%} to {max(covered):.1%}, tests of equal models reject at "
        f"most {max(wrong):.1%}, {len(missed)} of {len(claimed)} rows missed; seven suites of 500 items are compared "
        f"in {time_comparison():.2f} s (all: {time.perf_counter() - start:.0f} s)"
    )
    if arguments.check and missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
