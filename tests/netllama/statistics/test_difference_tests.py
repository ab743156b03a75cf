"""p-values against scipy, and against every combination of signs."""

from itertools import chain, combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.statistics.difference_tests import (
    EXHAUSTIVE,
    adjust_holm,
    compute_mcnemar_p,
    compute_permutation_p,
    flip_signs,
)
from netllama.statistics.paired_scores import PairedScores

HITS = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), min_size=1, max_size=12)
GRADES = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(0, 6)), min_size=1, max_size=14)


def make_paired(rows: list[tuple[float, float, int]]) -> PairedScores:
    base, tuned, clusters = (np.array(column) for column in zip(*rows, strict=True))
    return PairedScores("s", base, tuned, clusters)


def sum_by_cluster(rows: list[tuple[float, float, int]]) -> list[float]:
    return [sum(tuned - base for base, tuned, own in rows if own == name) for name in {row[2] for row in rows}]


def enumerate_sums(gains: list[float]) -> list[float]:
    return [
        sum(sign * gain for sign, gain in zip(signs, gains, strict=True))
        for signs in product((1, -1), repeat=len(gains))
    ]


@given(rows=HITS)
def test_mcnemars_mid_p_is_that_of_every_combination_of_signs(rows: list[tuple[bool, bool, int]]) -> None:
    numbers = [(float(base), float(tuned), cluster) for base, tuned, cluster in rows]
    gains = sum_by_cluster(numbers)
    every = np.abs(enumerate_sums(gains))
    seen = abs(sum(gains))
    wanted = np.mean(every > seen) + np.mean(every == seen) / 2 if any(gains) else 1.0
    assert compute_mcnemar_p(make_paired(numbers)) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("gained", "lost"), [(0, 6), (1, 9), (5, 5), (30, 12), (150, 101)])
def test_without_clusters_mcnemars_mid_p_is_the_textbooks(gained: int, lost: int) -> None:
    """Twice the lower tail of the binomial distribution, less the probability of what was seen."""
    number, fewer = gained + lost, min(gained, lost)
    tail = sum(comb(number, count) for count in range(fewer + 1)) / 2**number
    point = comb(number, fewer) / 2**number
    wanted = 2 * tail - point if gained != lost else 1 - point / 2
    rows = [(0.0, 1.0, 0)] * gained + [(1.0, 0.0, 0)] * lost + [(1.0, 1.0, 0)] * 20
    paired = make_paired([(base, tuned, place) for place, (base, tuned, _) in enumerate(rows)])
    assert compute_mcnemar_p(paired) == pytest.approx(wanted, abs=1e-12)


def test_mcnemars_test_refuses_grades_and_weights() -> None:
    with pytest.raises(ValueError, match="scores of 0 or 1"):
        compute_mcnemar_p(make_paired([(0.5, 1.0, 0)]))
    with pytest.raises(ValueError, match="scores of 0 or 1"):
        compute_mcnemar_p(PairedScores("s", np.array([1.0]), np.array([0.0]), np.array([0]), np.array([2.0])))


@given(rows=GRADES)
def test_few_clusters_are_flipped_in_every_combination(rows: list[tuple[int, int, int]]) -> None:
    numbers = [(base / 10, tuned / 10, cluster) for base, tuned, cluster in rows]
    gains = sum_by_cluster(numbers)
    every = np.abs(enumerate_sums(gains))
    wanted = np.mean(every >= abs(sum(gains)) - 1e-9)
    assert compute_permutation_p(make_paired(numbers)) == pytest.approx(wanted, abs=1e-12)


def test_random_flips_come_near_all_flips() -> None:
    gains = np.random.default_rng(4).normal(0.3, 1, EXHAUSTIVE)
    rows = [(0.0, float(gain), place) for place, gain in enumerate(gains)]
    exact = compute_permutation_p(make_paired(rows))
    assert 0.02 < exact < 0.98
    assert flip_signs(gains[:, None], 40_000)[0] == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 40_000))


def test_many_clusters_are_flipped_at_random_with_a_seed() -> None:
    rows = [(0.0, float(gain), place) for place, gain in enumerate(np.random.default_rng(5).normal(0.2, 1, 60))]
    paired = make_paired(rows)
    assert compute_permutation_p(paired, seed=1) == compute_permutation_p(paired, seed=1)
    assert compute_permutation_p(paired, seed=1) == pytest.approx(compute_permutation_p(paired, seed=2), abs=0.03)
    assert compute_permutation_p(paired, flips=99) >= 0.01


@settings(max_examples=40)
@given(rows=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(0, 30)), min_size=1, max_size=60))
def test_swapping_the_models_and_moving_items_leaves_p_as_it_is(rows: list[tuple[int, int, int]]) -> None:
    numbers = [(base / 10, tuned / 10, cluster) for base, tuned, cluster in rows]
    p = compute_permutation_p(make_paired(numbers), flips=200)
    assert p == compute_permutation_p(make_paired([(tuned, base, own) for base, tuned, own in numbers]), flips=200)
    assert p == pytest.approx(compute_permutation_p(make_paired(numbers[::-1]), flips=200))
    hits = [(float(base > 5), float(tuned > 5), own) for base, tuned, own in rows]
    q = compute_mcnemar_p(make_paired(hits))
    assert q == pytest.approx(compute_mcnemar_p(make_paired([(tuned, base, own) for base, tuned, own in hits[::-1]])))


def test_what_does_not_differ_is_no_evidence() -> None:
    rows = [(1.0, 1.0, 0), (0.0, 0.0, 1)]
    assert compute_mcnemar_p(make_paired(rows)) == compute_permutation_p(make_paired(rows)) == 1


def test_a_cluster_counts_once_however_many_questions_it_has() -> None:
    alone = [(0.0, 1.0, place) for place in range(5)]
    copied = [(0.0, 1.0, place // 4) for place in range(20)]
    assert compute_mcnemar_p(make_paired(copied)) == compute_mcnemar_p(make_paired(alone)) == pytest.approx(2 / 64)


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_is_bonferroni_over_every_set_that_holds_the_hypothesis(p_values: list[float]) -> None:
    """The closure principle (Marcus, Peritz and Gabriel 1976): the adjusted p is the worst one of all these sets."""
    places = range(len(p_values))
    subsets = list(chain.from_iterable(combinations(places, size) for size in range(1, len(p_values) + 1)))
    wanted = [
        max(min(1.0, len(own) * min(p_values[each] for each in own)) for own in subsets if place in own)
        for place in places
    ]
    assert adjust_holm(p_values) == pytest.approx(wanted)


def test_holm_of_nothing_is_nothing() -> None:
    assert adjust_holm([]) == []
