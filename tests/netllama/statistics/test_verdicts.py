"""From scores to a word and a sentence."""

import numpy as np
import pytest

from netllama.statistics.intervals import IntervalEstimate
from netllama.statistics.paired_scores import FloatArray, IntArray, PairedScores
from netllama.statistics.verdicts import (
    compare_suites,
    estimate_detectable_difference,
    judge_difference,
    write_sentences,
)

RANDOM = np.random.default_rng(11)
LOSS = RANDOM.normal(3, 0.4, 48)
TOKENS = RANDOM.integers(30, 600, 48)


def make_hits(name: str, gained: int, lost: int, same: int) -> PairedScores:
    base = np.array([0.0] * gained + [1.0] * lost + [1.0] * same)
    tuned = np.array([1.0] * gained + [0.0] * lost + [1.0] * same)
    return PairedScores(name, base, tuned, np.arange(len(base)))


def make_losses(name: str, shift: float) -> PairedScores:
    tuned = LOSS + shift + np.random.default_rng(0).normal(0, 0.1, 48)
    return PairedScores(name, LOSS, tuned, np.arange(48), TOKENS, higher_is_better=False)


BETTER, WORSE = make_hits("choice questions", 40, 10, 100), make_hits("general questions", 3, 20, 50)
UNCLEAR = make_hits("blanks", 10, 8, 40)


def test_each_suite_gets_its_word_and_the_test_of_its_kind() -> None:
    found = compare_suites([BETTER, WORSE, UNCLEAR, make_losses("loss", -0.5), make_losses("other loss", 0.5)])
    assert [each.verdict for each in found] == ["better", "worse", "inconclusive", "better", "worse"]
    assert [each.test for each in found] == ["mcnemar"] * 3 + ["permutation"] * 2
    assert [each.items for each in found] == [150, 73, 58, 48, 48]
    for each in found:
        assert each.difference.value == pytest.approx(each.tuned.value - each.base.value)
        assert each.p <= each.p_adjusted
        assert (each.difference.low <= 0 <= each.difference.high) == (each.verdict == "inconclusive")


def test_a_suite_that_would_do_alone_is_inconclusive_among_many() -> None:
    close = make_hits("close", 17, 6, 100)
    alone = compare_suites([close])[0]
    assert (alone.verdict, alone.p) == ("better", pytest.approx(0.0232, abs=1e-3))
    among = compare_suites([close, *(make_hits(f"{number}", 5, 5, 50) for number in range(4))])[0]
    assert (among.verdict, among.p_adjusted) == ("inconclusive", pytest.approx(5 * alone.p))
    assert among.difference == alone.difference


def test_the_order_of_the_suites_changes_nothing() -> None:
    suites = [BETTER, WORSE, UNCLEAR, make_losses("loss", -0.02)]
    assert compare_suites(suites[::-1]) == compare_suites(suites)[::-1]


def test_swapping_the_models_swaps_better_and_worse() -> None:
    for suite in (BETTER, WORSE, UNCLEAR, make_losses("loss", -0.5)):
        swapped = PairedScores(
            suite.suite, suite.tuned, suite.base, suite.clusters, suite.weights, suite.higher_is_better
        )
        words = {"better": "worse", "worse": "better", "inconclusive": "inconclusive"}
        one, other = compare_suites([suite])[0], compare_suites([swapped])[0]
        assert words[one.verdict] == other.verdict
        assert (one.p, one.detectable) == pytest.approx((other.p, other.detectable))


def test_a_word_needs_both_the_test_and_the_interval() -> None:
    assert judge_difference(IntervalEstimate(0.1, -0.01, 0.2), 0.001, True) == "inconclusive"
    assert judge_difference(IntervalEstimate(0.1, 0.0, 0.2), 0.001, True) == "inconclusive"
    assert judge_difference(IntervalEstimate(0.1, 0.01, 0.2), 0.051, True) == "inconclusive"
    assert judge_difference(IntervalEstimate(0.1, 0.01, 0.2), 0.05, True) == "better"
    assert judge_difference(IntervalEstimate(0.1, 0.01, 0.2), 0.05, False) == "worse"
    assert judge_difference(IntervalEstimate(-0.1, -0.2, -0.01), 0.05, False) == "better"


def test_a_model_that_never_differs_is_inconclusive_with_what_might_be_overlooked() -> None:
    found = compare_suites([make_hits("same", 0, 0, 40)])[0]
    assert (found.verdict, found.p) == ("inconclusive", 1)
    assert found.difference.low < 0 < found.difference.high
    assert found.detectable == pytest.approx(found.difference.high)


def test_a_single_question_or_cluster_can_tell_nothing() -> None:
    one = PairedScores("one", np.array([0.2]), np.array([0.9]), np.array([0]))
    same = PairedScores("same cluster", np.zeros(9), np.ones(9), np.zeros(9, dtype=int))
    for found in compare_suites([one, same]):
        assert (found.verdict, found.clusters, found.detectable) == ("inconclusive", 1, np.inf)


def test_items_that_all_differ_alike_leave_room_for_others() -> None:
    few, some, graded = compare_suites(
        [make_hits("few", 3, 0, 0), make_hits("some", 12, 0, 0), PairedScores("g", *make_alike(40, 0.25))]
    )
    assert (few.verdict, few.difference.high) == ("inconclusive", 1)
    assert few.difference.low < 0
    assert (some.verdict, some.difference.value, some.difference.high) == ("better", 1, 1)
    assert 0.4 < some.difference.low < 0.6
    assert graded.difference.low < 0.25 < graded.difference.high
    assert few.detectable > some.detectable > 0


def test_differences_that_rounding_alone_tells_apart_are_alike() -> None:
    base, tuned = np.array([0.2, 0.4, 0.7]), np.array([0.3, 0.5, 0.8])
    found = compare_suites([PairedScores("g", base, tuned, np.arange(3))])[0]
    assert found.difference.low < 0 < found.detectable
    assert found.detectable > 0.5


def make_alike(items: int, difference: float) -> tuple[FloatArray, FloatArray, IntArray]:
    return np.zeros(items), np.full(items, difference), np.arange(items)


def test_too_few_items_promise_no_difference_above_one() -> None:
    found = compare_suites([make_hits("two", 1, 0, 1)])
    assert found[0].detectable == np.inf
    assert write_sentences(found).inconclusive.endswith("(2 items, too few to show a difference).")


def test_more_items_show_smaller_differences() -> None:
    few, many = (estimate_detectable_difference(make_hits("h", 5 * n, 5 * n, 40 * n)) for n in (1, 4))
    assert many == pytest.approx(few / 2, rel=0.05)
    # 20% of the items differ: 2.8 standard errors of sqrt(0.2 / n).
    assert many == pytest.approx(2.8 * np.sqrt(0.2 / 200), rel=0.02)


def test_every_suite_stands_in_one_of_three_sentences() -> None:
    found = compare_suites([BETTER, WORSE, UNCLEAR, make_losses("loss", -0.5)])
    said = write_sentences(found)
    assert said.better.startswith("Better: choice questions 0.733 -> 0.933 (+0.200, 95% interval +0.1")
    assert "; loss " in said.better
    assert said.worse.startswith("Worse: general questions 0.959 -> 0.726 (-0.233, ")
    assert said.inconclusive == (
        f"Can't be told: blanks 0.828 -> 0.862 (58 items, which show {found[2].detectable:.3f})."
    )
    for name in ("choice questions", "general questions", "blanks", "loss"):
        assert sum(f"{name} " in sentence for sentence in (said.better, said.worse, said.inconclusive)) == 1


def test_nothing_is_said_of_nothing() -> None:
    said = write_sentences(compare_suites([]))
    assert (said.better, said.worse, said.inconclusive) == (
        "Better: nothing.",
        "Worse: nothing.",
        "Can't be told: nothing.",
    )
