"""Intervals against scipy, against every possible resample, and by what must not change them."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from netllama.statistics.intervals import (
    bound_unseen,
    compute_design_effect,
    compute_wilson_interval,
    estimate_difference,
    estimate_mean,
    estimate_perplexity,
    estimate_proportion,
    resample_means,
)
from netllama.statistics.paired_scores import ClusterSums, PairedScores, number_clusters, sum_clusters

QUICK = {"resamples": 500}


def make_pair(base: list[float], tuned: list[float], clusters: list[int] | None = None) -> PairedScores:
    return PairedScores("s", np.array(base), np.array(tuned), np.array(clusters or range(len(base))))


@st.composite
def pairs(draw: st.DrawFn) -> PairedScores:
    number = draw(st.integers(2, 25))
    values = st.lists(st.integers(0, 20).map(lambda value: value / 20), min_size=number, max_size=number)
    clusters = draw(st.lists(st.integers(0, 8), min_size=number, max_size=number))
    weights = draw(st.lists(st.integers(1, 50), min_size=number, max_size=number))
    return PairedScores("s", np.array(draw(values)), np.array(draw(values)), np.array(clusters), np.array(weights))


@given(items=st.integers(1, 2000), share=st.floats(0, 1))
def test_wilsons_interval_is_scipys(items: int, share: float) -> None:
    right = round(share * items)
    wanted = binomtest(right, items).proportion_ci(method="wilson")
    assert compute_wilson_interval(right / items, items) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    found = estimate_proportion([1.0] * right + [0.0] * (items - right), np.arange(items))
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_copies_of_a_question_are_no_new_evidence_for_a_proportion() -> None:
    hits = np.array([1, 0, 0, 1, 1, 0, 1, 1, 0, 0, 0, 1], dtype=float)
    copied = estimate_proportion(np.repeat(hits, 5), np.repeat(np.arange(12), 5))
    alone = estimate_proportion(hits, np.arange(12))
    assert copied.value == alone.value
    assert copied.high - copied.low >= alone.high - alone.low - 1e-12
    effect = compute_design_effect(sum_clusters(np.repeat(hits, 5), np.repeat(np.arange(12), 5)))
    assert effect == pytest.approx(5 * 12 / 11 * 2.201 / 1.96, rel=1e-3)  # t of 11 degrees of freedom, z


def test_clusters_that_disagree_inside_never_narrow_the_interval() -> None:
    hits = np.array([1.0, 0.0] * 20)
    paired, alone = estimate_proportion(hits, np.arange(40) // 2), estimate_proportion(hits, np.arange(40))
    assert paired.low < alone.low < alone.high < paired.high


def test_if_all_are_right_a_cluster_counts_as_one() -> None:
    assert estimate_proportion(np.ones(40), np.arange(40) // 4) == estimate_proportion(np.ones(10), np.arange(10))


def test_the_bootstrap_has_the_distribution_of_all_possible_resamples() -> None:
    sums = ClusterSums(np.array([[2.0], [0.5], [-1.0], [4.0], [0.0]]), np.array([[3.0], [1.0], [2.0], [4.0], [1.0]]))
    every = [
        sum(sums.values[place, 0] for place in places) / sum(sums.weights[place, 0] for place in places)
        for places in product(range(5), repeat=5)
    ]
    drawn = resample_means(sums, 20_000, seed=3)[:, 0]
    for value in np.linspace(-0.5, 1.1, 23):
        exact = np.mean(np.array(every) <= value + 1e-9)
        # Four standard errors of a share of 20,000 draws.
        assert np.mean(drawn <= value + 1e-9) == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 20_000))


@settings(max_examples=40)
@given(paired=pairs(), seed=st.integers(0, 99))
def test_the_order_of_the_items_does_not_matter(paired: PairedScores, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(paired.base))
    moved = PairedScores("s", paired.base[order], paired.tuned[order], paired.clusters[order], paired.weights[order])
    one, other = (estimate_difference(each, **QUICK) for each in (paired, moved))
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=1e-12)


@settings(max_examples=40)
@given(paired=pairs())
def test_swapping_the_models_turns_the_interval_round(paired: PairedScores) -> None:
    swapped = PairedScores("s", paired.tuned, paired.base, paired.clusters, paired.weights)
    one, other = (estimate_difference(each, **QUICK) for each in (paired, swapped))
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low), abs=1e-9)
    assert one.low <= one.value <= one.high


def test_items_of_a_cluster_are_resampled_together() -> None:
    base, tuned = np.random.default_rng(1).random((2, 30))
    alone = estimate_difference(PairedScores("s", base, tuned, np.arange(30)))
    copied = estimate_difference(
        PairedScores("s", np.repeat(base, 4), np.repeat(tuned, 4), np.repeat(np.arange(30), 4))
    )
    assert (copied.value, copied.low, copied.high) == pytest.approx((alone.value, alone.low, alone.high))
    broken_up = estimate_difference(PairedScores("s", np.repeat(base, 4), np.repeat(tuned, 4), np.arange(120)))
    assert broken_up.high - broken_up.low < 0.6 * (alone.high - alone.low)


def test_the_same_seed_gives_the_same_bytes_and_the_columns_are_independent_of_each_other() -> None:
    values = np.random.default_rng(0).random((20, 3))
    sums = ClusterSums(values, np.ones(values.shape))
    together = resample_means(sums, 200, seed=5)
    assert together.tobytes() == resample_means(sums, 200, seed=5).tobytes()
    assert not np.array_equal(together, resample_means(sums, 200, seed=6))
    one = resample_means(ClusterSums(values[:, 1:2], np.ones((20, 1))), 200, seed=5)
    assert together[:, 1] == pytest.approx(one[:, 0])


def test_a_loss_is_the_sum_of_losses_over_the_sum_of_tokens() -> None:
    losses, tokens = np.array([3.0, 1.0, 2.0, 4.0]), np.array([10, 1000, 50, 5])
    found = estimate_mean(losses, np.arange(4), tokens)
    assert found.value == pytest.approx((30 + 1000 + 100 + 20) / 1065)
    perplexity = estimate_perplexity(found)
    assert perplexity.value == pytest.approx(np.exp(1150 / 1065))
    assert (perplexity.low, perplexity.high) == (np.exp(found.low), np.exp(found.high))


def test_one_long_row_makes_the_interval_wide() -> None:
    losses = np.random.default_rng(2).normal(2, 0.3, 40)
    even = estimate_mean(losses, np.arange(40))
    tokens = np.where(np.arange(40) == 0, 5000, 100)  # more than all the others together
    heavy = estimate_mean(losses, np.arange(40), tokens)
    assert heavy.high - heavy.low > 1.5 * (even.high - even.low)


def test_a_single_cluster_says_nothing_of_the_spread() -> None:
    found = estimate_mean([0.2, 0.4], np.array([7, 7]))
    assert (found.value, found.low, found.high) == (pytest.approx(0.3), -np.inf, np.inf)


def test_answers_that_all_agree_bound_the_difference_but_do_not_exclude_it() -> None:
    found = estimate_difference(make_pair([1, 0, 1, 1] * 10, [1, 0, 1, 1] * 10))
    limit = binomtest(0, 40).proportion_ci(method="exact").high
    assert (found.value, found.low, found.high) == pytest.approx((0, -limit, limit))
    assert bound_unseen(40) == pytest.approx(limit)


def test_losses_that_all_agree_have_no_bound() -> None:
    found = estimate_difference(make_pair([2.5, 3.5, 1.5], [2.5, 3.5, 1.5]))
    assert (found.low, found.high) == (0, 0)


def test_clusters_are_numbered_by_name_and_items_without_one_stand_alone() -> None:
    assert number_clusters(["q3", "q1", "q2", "q4"], ["", "b", "", "b"]).tolist() == [2, 0, 1, 0]
    # An item that is called like a cluster is not in it.
    assert len(set(number_clusters(["b", "q1", "q2"], ["", "b", "b"]).tolist())) == 2


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"base": [1.0], "tuned": [1.0, 0.0], "clusters": [0, 1]}, "shapes"),
        ({"base": [], "tuned": [], "clusters": []}, "shapes"),
        ({"base": [1.0, np.nan], "tuned": [1.0, 0.0], "clusters": [0, 1]}, "not finite"),
        ({"base": [1.0], "tuned": [1.0], "clusters": [0], "weights": [0.0]}, "not above 0"),
    ],
)
def test_arrays_that_are_no_scores_are_refused(arrays: dict[str, list[float]], said: str) -> None:
    with pytest.raises(ValueError, match=f"suite mine: .*{said}"):
        PairedScores("mine", **{name: np.array(values) for name, values in arrays.items()})  # type: ignore[arg-type]
