"""Brier scores, calibration and baselines against what they are by definition."""

from math import exp, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.statistics.calibration import (
    OptionProbabilities,
    bin_confidences,
    compute_brier_scores,
    compute_calibration_error,
    measure_guessing,
    normalise_likelihoods,
)

LIKELIHOODS = st.lists(st.lists(st.floats(-700, 0), min_size=2, max_size=5), min_size=1, max_size=30)


def take_likeliest(options: OptionProbabilities) -> tuple[Any, Any]:
    """The confidence in each answer, and whether it is right."""
    return options.probabilities.max(axis=1), options.probabilities.argmax(axis=1) == options.right


@given(likelihoods=LIKELIHOODS)
def test_probabilities_are_a_softmax_and_scores_are_those_of_a_plain_loop(likelihoods: list[list[float]]) -> None:
    right = [place % len(own) for place, own in enumerate(likelihoods)]
    options = normalise_likelihoods(likelihoods, right)
    hits: list[list[tuple[float, bool]]] = [[] for _ in range(10)]
    for own, truth, found, brier in zip(
        likelihoods, right, options.probabilities, compute_brier_scores(options), strict=True
    ):
        highest = max(own)
        shares = [exp(each - highest) / sum(exp(other - highest) for other in own) for each in own]
        assert found[: len(own)] == pytest.approx(shares)
        assert not found[len(own) :].any()
        assert brier == pytest.approx(sum((share - (place == truth)) ** 2 for place, share in enumerate(shares)))
        confidence = float(found.max())
        place = next(place for place in range(10) if confidence <= (place + 1) / 10 or place == 9)
        hits[place].append((confidence, int(found.argmax()) == truth))
    wanted = sum(abs(sum(hit for _, hit in own) - sum(confidence for confidence, _ in own)) for own in hits)
    confidence, hit = take_likeliest(options)
    assert compute_calibration_error(confidence, hit) == pytest.approx(wanted / len(right))
    assert [each.questions for each in bin_confidences(confidence, hit)] == [len(own) for own in hits]


def test_likelihoods_far_below_zero_do_not_vanish() -> None:
    options = normalise_likelihoods([[-2000.0, -2000.0 + log(3)]], [1])
    assert options.probabilities[0] == pytest.approx([0.25, 0.75])


def test_the_ends_of_the_brier_score() -> None:
    table = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0.25] * 4])
    assert compute_brier_scores(OptionProbabilities(table, np.array([0, 0, 2]))).tolist() == [0, 2, 0.75]


def test_a_model_that_is_right_as_often_as_it_says_is_calibrated() -> None:
    assert compute_calibration_error([0.75] * 8, [1] * 6 + [0] * 2) == pytest.approx(0)
    assert compute_calibration_error([0.75] * 8, [0] * 8) == pytest.approx(0.75)
    filled = [each for each in bin_confidences([0.75] * 8, [1] * 6 + [0] * 2) if each.questions]
    assert [(each.low, each.high, each.confidence, each.accuracy) for each in filled] == [(0.7, 0.8, 0.75, 0.75)]


@pytest.mark.parametrize(
    ("answers", "chances", "majority", "uniform"),
    [(["A", "B", "B", "C"], [1 / 4] * 3 + [1 / 2], 0.5, 0.3125), (["true", "false", "true"], [0.5] * 3, 2 / 3, 0.5)],
)
def test_what_guessing_scores(answers: list[str], chances: list[float], majority: float, uniform: float) -> None:
    found = measure_guessing(answers, chances)
    assert (found.majority, found.uniform) == pytest.approx((majority, uniform))
