"""Open answers: what of a reference a text says, against rouge-score's words and a loop."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.records import Question
from netllama.novelty.rouge import split_rouge_tokens
from netllama.scoring.open_answers import compute_token_f1, measure_key_facts, measure_open_answer, states_fact
from tests.support.shipped_data import load_shipped_questions

OPEN = [question for question in load_shipped_questions() if question.kind == "open"]
words = st.lists(st.sampled_from(["as", "path", "prefix", "route", "peer", "leak"]), max_size=8).map(" ".join)


@given(words, words)
def test_token_f1_is_that_of_a_loop(one: str, other: str) -> None:
    left = Counter(other.split())
    common = 0
    for word in one.split():
        if left[word] > 0:
            left[word] -= 1
            common += 1
    if not common:
        assert compute_token_f1(one, other) == 0
        return
    precision, recall = common / len(one.split()), common / len(other.split())
    assert compute_token_f1(one, other) == pytest.approx(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("question", OPEN, ids=lambda question: question.id)
def test_our_own_references_state_nearly_all_of_their_key_facts_and_nonsense_none(question: Question) -> None:
    assert measure_key_facts(question.answer, question.key_facts) >= 0.5
    assert measure_key_facts("I do not know the answer to that.", question.key_facts) == 0
    assert measure_open_answer(question.answer, question.answer, [])["rouge_l"] == 1


def test_without_key_facts_the_sentences_of_the_reference_are_taken_for_them() -> None:
    reference = "A hold timer of 90 seconds expired. The session closes."
    assert measure_open_answer(reference, reference, [])["key_facts"] == 1
    assert measure_open_answer("The session closes.", reference, [])["key_facts"] == 0.5
    assert measure_open_answer("No idea.", reference, [])["key_facts"] == 0
    assert measure_open_answer("The session closes.", reference, ["session closes"])["key_facts"] == 1


def test_references_state_most_of_their_key_facts_and_those_of_other_questions_hardly_any() -> None:
    own = [measure_key_facts(question.answer, question.key_facts) for question in OPEN]
    others = [
        measure_key_facts(other.answer, question.key_facts)
        for question, other in zip(OPEN, OPEN[1:] + OPEN[:1], strict=True)
    ]
    assert sum(own) / len(own) > 0.85
    assert sum(others) / len(others) < 0.05


@pytest.mark.parametrize(
    ("answer", "fact", "states"),
    [
        ("The route was rejected by the import policy.", "Prefix A was rejected by the router's import policy", True),
        ("Gap 1 spans 1.5 seconds.", "Gap 1 spans 1.5 seconds", True),
        ("Gap 1 spans 2.5 seconds.", "Gap 1 spans 1.5 seconds", False),
        ("It is a route. A leak is one. Policy decides.", "A route leak violates policy of the neighbor", False),
        ("", "anything at all", False),
        ("anything", "of the", False),
    ],
)
def test_a_fact_is_stated_by_its_words_and_its_numbers(answer: str, fact: str, states: bool) -> None:
    assert states_fact(answer, fact) is states


def test_the_measures_of_an_answer() -> None:
    found = measure_open_answer("the peer sent it", "the peer sent the route", ["the peer sent a route"])
    assert found == {"key_facts": 1.0, "rouge_l": 0.6667, "token_f1": 0.6667, "length": 0.8}
    assert sum(map(len, map(split_rouge_tokens, ["the peer sent it"]))) == 4
