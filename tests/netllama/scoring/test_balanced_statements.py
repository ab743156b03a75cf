"""True/false without the model's liking for a word."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.records import Question
from netllama.rendering.question_texts import VERBALISERS, phrase_question
from netllama.rendering.renderer import Renderer
from netllama.scoring import balanced_statements, choice
from netllama.scoring.balanced_statements import judge_balanced, score_balanced
from netllama.scoring.choice import score_choices, summarize_choices
from netllama.scoring.likelihood import score_continuations
from netllama.scoring.shared_prefixes import Continued
from tests.support.decisive_model import load_decisive_model
from tests.support.given_away import make_question
from tests.support.plain_scores import score_alone

pytestmark = pytest.mark.usefixtures("one_thread")
WORDS = ("An AS with", "Never have", "The ten", "In 2024 all of the", "Why")
ODDS = st.tuples(st.floats(-9, 9), st.floats(-9, 9))


@pytest.fixture
def model(tiny_model_folder: Path) -> Any:
    return load_decisive_model(tiny_model_folder)


@pytest.fixture
def renderer(tiny_tokenizer: Any) -> Renderer:
    return Renderer(tiny_tokenizer, "chat", "")


def statements(number: int) -> list[Question]:
    texts = [f"{WORDS[at % 5]} {at} peers {WORDS[at % 4]} {'?!;:)'[at % 5] * (at + 1)}" for at in range(number)]
    return [make_question(at, text, "true_false", ("true", "false")[at % 2]) for at, text in enumerate(texts)]


def find_balanced(model: Any, questions: list[Question], renderer: Renderer) -> dict[str, float]:
    """Asked beside a choice, which has no such measure."""
    *scores, other = score_choices(
        model, [*questions, make_question(20, "Why?", "choice", "A", ["So", "No"])], renderer
    )
    assert "accuracy_balanced" not in other.measures
    return {score.item: score.measures["accuracy_balanced"] for score in scores}


def test_answers_are_those_of_a_loop_over_both_wordings_with_and_without_the_statement(
    model: Any, renderer: Renderer
) -> None:
    def odds(phrase: str, words: tuple[str, str], statement: str) -> float:
        prompt = renderer.render_prompt(f"{phrase} {statement}")
        count = len(renderer.tokenizer(prompt, add_special_tokens=False)["input_ids"])
        yes, no = (
            score_alone(model, renderer.tokenizer(prompt + word, add_special_tokens=False)["input_ids"], count)
            for word in words
        )
        return yes - no

    questions = statements(8)
    found = find_balanced(model, questions, renderer)
    wordings = [("True or false?", ("True", "False")), ("Yes or no: is this right?", ("Yes", "No"))]
    expected = {}
    for question in questions:
        gains = [odds(*each, question.question) - odds(*each, "N/A") for each in wordings]
        expected[question.id] = float((sum(gains) > 0) == (question.answer == "true"))
    assert found == expected
    assert len({found[each.id] == (each.answer == "true") for each in questions}) == 2, "all are called the same"


@given(st.lists(ODDS, min_size=2, max_size=2), st.floats(-20, 20), st.integers(0, 1))
def test_a_liking_for_a_word_changes_no_answer(odds: list[tuple[float, float]], liking: float, wording: int) -> None:
    gain = sum(asked - unasked for asked, unasked in odds)
    if abs(gain) > 1e-6:
        liked = [(a + liking * (at == wording), b + liking * (at == wording)) for at, (a, b) in enumerate(odds)]
        assert judge_balanced(liked) == judge_balanced(odds) == (gain > 0)


def test_a_model_that_always_says_true_is_told_from_one_that_knows(
    model: Any, renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 nats for the word True make the plain accuracy that of the majority, and leave the balanced one as it was."""
    questions = statements(9)
    before = find_balanced(model, questions, renderer)
    rendered = renderer.render("N/A", "True")
    liked = rendered.input_ids[rendered.answer_start : -1]

    def score_with_liking(model: Any, texts: list[Continued], desc: str) -> list[list[float]]:
        found = score_continuations(model, texts, desc)
        return [
            [score + 50 * (each == liked) for score, each in zip(own, text.continuations, strict=True)]
            for own, text in zip(found, texts, strict=True)
        ]

    for module in (choice, balanced_statements):
        monkeypatch.setattr(module, "score_continuations", score_with_liking)
    scores = score_choices(model, questions, renderer)
    found = summarize_choices(scores)["true_false"]
    assert (found["accuracy"], found["majority"], found["says_true"]) == (0.5556, 0.5556, 1.0)
    assert find_balanced(model, questions, renderer) == before


def test_the_first_wording_is_that_of_the_plain_score() -> None:
    question = statements(1)[0]
    assert phrase_question(question) == f"{VERBALISERS[0][0]} {question.question}"
    assert VERBALISERS[0][1] == ("True", "False")


def test_no_statement_no_answer(model: Any, renderer: Renderer) -> None:
    choice_question = make_question(20, "Why?", "choice", "A", ["So", "No"])
    assert score_balanced(model, [choice_question], [[-1.0, -2.0]], renderer) == {}
