"""Recall, MRR and nDCG: small cases by hand, and trec_eval's own figures."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.retrieval.ranking_measures import (
    compute_ndcg,
    compute_recall,
    compute_reciprocal_rank,
    measure_rankings,
)

IDS = [f"note#{number}" for number in range(25)]
cases = st.tuples(
    st.permutations(IDS).flatmap(lambda order: st.integers(1, 25).map(lambda n: order[:n])),
    st.sets(st.sampled_from(IDS), min_size=1),
)


def test_small_rankings_measure_what_they_do_by_hand() -> None:
    ranking, relevant = ["b", "a", "d", "c"], {"a", "c", "x"}
    assert compute_recall(ranking, relevant, 1) == 0
    assert compute_recall(ranking, relevant, 3) == 1 / 3
    assert compute_reciprocal_rank(ranking, relevant) == 0.5
    best = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert compute_ndcg(ranking, relevant) == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / best)
    assert compute_reciprocal_rank(ranking, relevant, 1) == compute_ndcg(ranking, {"c"}, 3) == 0
    assert compute_ndcg([], relevant) == compute_recall([], relevant, 10) == 0


@settings(max_examples=60)
@given(st.lists(cases, min_size=1, max_size=5))
def test_the_measures_are_those_of_trec_eval(questions: list[tuple[list[str], set[str]]]) -> None:
    peer = pytest.importorskip("ir_measures", reason="pip install -r tests/oracle-requirements.txt")
    pytest.importorskip("pytrec_eval", reason="pip install -r tests/oracle-requirements.txt")
    relevant = {str(number): dict.fromkeys(names, 1) for number, (_, names) in enumerate(questions)}
    scores = {
        str(number): {name: float(-rank) for rank, name in enumerate(ranking)}
        for number, (ranking, _) in enumerate(questions)
    }
    measures = [peer.parse_measure(name) for name in ("R@3", "R@10", "RR@10", "nDCG@10")]
    found = {(value.query_id, str(value.measure)): value.value for value in peer.iter_calc(measures, relevant, scores)}
    assert len(found) == len(questions) * len(measures)
    for number, (ranking, names) in enumerate(questions):
        ours = {
            "R@3": compute_recall(ranking, names, 3),
            "R@10": compute_recall(ranking, names, 10),
            "RR@10": compute_reciprocal_rank(ranking, names),
            "nDCG@10": compute_ndcg(ranking, names),
        }
        for measure, value in ours.items():
            assert value == pytest.approx(found[str(number), measure], abs=1e-9), measure


def test_a_share_has_wilsons_interval_and_a_mean_the_bootstraps() -> None:
    rankings = [["a", "b"]] * 30 + [["b", "a"]] * 10
    quality = measure_rankings(rankings, [{"a"}] * 40)
    assert quality.recall[1].value == 0.75
    assert (quality.recall[1].low, quality.recall[1].high) == pytest.approx((0.598, 0.858), abs=1e-3)
    assert quality.recall[10].value == quality.recall[10].high == 1
    assert quality.recall[10].low == pytest.approx(0.912, abs=1e-3)
    assert quality.reciprocal_rank.value == 0.875
    assert 0.79 < quality.reciprocal_rank.low < 0.83 < 0.92 < quality.reciprocal_rank.high < 0.96
    assert quality.ndcg.value == pytest.approx(0.75 + 0.25 / math.log2(3))


def test_questions_that_stand_or_fall_together_widen_the_interval() -> None:
    rankings, relevant = [["a", "b"]] * 30 + [["b", "a"]] * 10, [{"a"}] * 40
    together = measure_rankings(rankings, relevant, np.arange(40) // 10)
    alone = measure_rankings(rankings, relevant)
    assert together.reciprocal_rank.low < alone.reciprocal_rank.low
    assert together.recall[1].low < alone.recall[1].low


def test_what_measures_no_ranking_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is relevant"):
        compute_recall(["a"], set(), 3)
    with pytest.raises(ValueError, match="twice"):
        compute_ndcg(["a", "a"], {"a"})
