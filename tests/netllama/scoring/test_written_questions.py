"""Blanks and open questions: which are asked, what they are ranked among, what an answer is worth."""

from pathlib import Path
from typing import Any

import pytest

from netllama.core.records import Question
from netllama.rendering.question_texts import phrase_question
from netllama.rendering.renderer import Renderer
from netllama.scoring.blank_answers import match_texts
from netllama.scoring.written_questions import (
    BLANK_TOKENS,
    BlankRank,
    ask_written,
    judge_filled,
    judge_open,
    list_rivals,
    rank_blanks,
    score_written,
    select_written,
    summarize_written,
)
from tests.support.decisive_model import load_decisive_model
from tests.support.plain_scores import score_alone
from tests.support.shipped_data import load_shipped_questions

pytestmark = pytest.mark.usefixtures("one_thread")
QUESTIONS = load_shipped_questions()
BLANKS = [question for question in QUESTIONS if question.kind == "blank"]


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    return load_decisive_model(tiny_model_folder)


@pytest.fixture
def renderer(tiny_tokenizer: Any) -> Renderer:
    return Renderer(tiny_tokenizer, "chat", "")


def blank(number: int, answer: str, *aliases: str) -> Question:
    fields: dict[str, Any] = {"options": [], "key_facts": [], "reference": "", "cluster": ""}
    text = f"Peer {number} uses port ____."
    return Question(
        id=f"b-{number}", family="f", kind="blank", question=text, answer=answer, aliases=list(aliases), **fields
    )


def test_all_blanks_are_asked_and_a_fixed_choice_of_open_questions() -> None:
    asked = select_written(QUESTIONS, 5)
    assert [question for question in asked if question.kind == "blank"] == BLANKS
    chosen = {question.id for question in asked if question.kind == "open"}
    assert len(chosen) == 5
    assert chosen == {question.id for question in select_written(QUESTIONS[::-1], 5) if question.kind == "open"}
    assert chosen < {question.id for question in select_written(QUESTIONS, 6) if question.kind == "open"}


@pytest.mark.parametrize("question", BLANKS, ids=lambda question: question.id)
def test_the_rivals_of_a_blank_are_wrong_distinct_and_of_its_kind(question: Question) -> None:
    rivals = list_rivals(question, BLANKS)
    assert len(set(rivals)) == 3
    for rival in rivals:
        assert not any(match_texts(rival, text) for text in (question.answer, *question.aliases))
        assert any(map(str.isdigit, rival)) == any(map(str.isdigit, question.answer))


def test_ranks_are_those_of_a_loop_that_scores_each_answer_alone(model: Any, renderer: Renderer) -> None:
    asked = [blank(1, "179"), blank(2, "22"), blank(3, "4789"), blank(4, "53"), blank(5, "http")]
    found = rank_blanks(model, asked, renderer)
    for question, rank in zip(asked, found, strict=True):
        scores: list[float] = []
        for option in (question.answer, *list_rivals(question, asked)):
            whole = renderer.render(phrase_question(question), option)
            start = whole.answer_start
            scores.append(score_alone(model, whole.input_ids[:-1], start) / len(option))
        assert rank == (BlankRank(scores[0] == max(scores), 1 / len(scores)) if scores[1:] else None)
    assert found[4] is None, "without a rival there is nothing to be ranked among"


def test_blanks_without_rivals_have_no_rank() -> None:
    alone = judge_filled(blank(1, "179"), "179", None)
    assert summarize_written([alone]) == {"blank": {"accuracy": 1.0, "questions": 1}}


def test_a_blank_and_an_open_answer_are_judged_and_summed_up() -> None:
    right = judge_filled(blank(1, "179"), "The answer is 179.", BlankRank(True, 0.25))
    wrong = judge_filled(blank(2, "22"), "23", BlankRank(False, 0.5))
    measures = {"ranked_first": 1.0, "ranked_first_chance": 0.25}
    assert (right.value, right.measures, right.expected) == (1.0, measures, "179")
    fields: dict[str, Any] = {"options": [], "aliases": [], "reference": "", "cluster": "c", "kind": "open"}
    asked = Question(
        id="o", family="f", question="Why?", answer="It uses port 179.", key_facts=["It uses port 179"], **fields
    )
    said = judge_open(asked, "It uses port 179.", truncated=True)
    assert (said.value, said.measures["rouge_l"], said.measures["truncated"], said.cluster) == (1.0, 1.0, 1.0, "c")
    assert summarize_written([right, wrong, said]) == {
        "blank": {"accuracy": 0.5, "ranked_first": 0.5, "ranked_first_chance": 0.375, "questions": 2},
        "open": {
            "key_facts": 1.0,
            "rouge_l": 1.0,
            "token_f1": 1.0,
            "length": 1.0,
            "truncated": 1.0,
            "questions": 1,
        },
    }


def test_every_written_question_gets_a_score_in_its_order(model: Any, renderer: Renderer) -> None:
    opened = next(question for question in QUESTIONS if question.kind == "open")
    asked = [blank(1, "179"), opened, blank(2, "22")]
    prompts = ask_written(asked, renderer, max_new_tokens=60)
    assert [prompt.limit for prompt in prompts] == [BLANK_TOKENS, 60, BLANK_TOKENS]
    assert [prompt.limit for prompt in ask_written(asked, renderer, max_new_tokens=6)] == [6, 6, 6]
    eos = renderer.tokenizer.eos_token_id
    scores = score_written(model, asked, renderer, [[5], [6, 7], [8, eos]])
    assert [score.item for score in scores] == [question.id for question in asked]
    assert [score.answer for score in scores] == [renderer.decode_answer(ids) for ids in ([5], [6, 7], [8, eos])]
    assert scores[1].measures["truncated"] == 1.0
    assert score_written(model, [], renderer, []) == []
