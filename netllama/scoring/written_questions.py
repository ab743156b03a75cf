"""Blanks and open questions: the model writes an answer, which is compared with what is right.

A blank is ranked, too: the log-likelihood of its right answer beside those of three other blanks of its family. What a
small model can't write it may still prefer.
"""

import hashlib
from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING, NamedTuple

from netllama.core.records import Question
from netllama.rendering.question_texts import phrase_question
from netllama.rendering.renderer import Renderer
from netllama.scoring.blank_answers import judge_blank, match_texts
from netllama.scoring.kept_answers import LimitedPrompt
from netllama.scoring.likelihood import score_continuations
from netllama.scoring.open_answers import measure_open_answer
from netllama.scoring.rendered_answers import render_answers
from netllama.scoring.score import Numbers, Score

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

RIVALS = 3
"""Answers of other blanks that a blank's answer is ranked among."""
BLANK_TOKENS = 24
"""Tokens that a model may write into a blank."""


def select_written(questions: Sequence[Question], num_open: int) -> list[Question]:
    """All blanks, and `num_open` open questions by the hash of their ids, a choice that no file's order can change."""
    blanks = [question for question in questions if question.kind == "blank"]
    ranked = sorted((question for question in questions if question.kind == "open"), key=lambda each: _hash(each.id))
    return [*blanks, *sorted(ranked[:num_open], key=lambda question: question.id)]


def ask_written(questions: Sequence[Question], renderer: Renderer, max_new_tokens: int) -> list[LimitedPrompt]:
    """What a model is asked by blanks and open questions."""
    limits = {"blank": min(BLANK_TOKENS, max_new_tokens), "open": max_new_tokens}
    return [
        LimitedPrompt(renderer.encode_prompt(phrase_question(question)), limits[question.kind])
        for question in questions
    ]


def score_written(
    model: "LanguageModel", questions: Sequence[Question], renderer: Renderer, answers: Sequence[list[int]]
) -> list[Score]:
    """A score for each blank and open question, in their order; `answers`: of the model to `ask_written`."""
    blanks = [question for question in questions if question.kind == "blank"]
    ranks = iter(rank_blanks(model, blanks, renderer))
    scores = []
    for question, ids in zip(questions, answers, strict=True):
        text, cut = renderer.decode_answer(ids), renderer.tokenizer.eos_token_id not in ids
        if question.kind == "blank":
            scores.append(judge_filled(question, text, next(ranks)))
        else:
            scores.append(judge_open(question, text, cut))
    return scores


class BlankRank(NamedTuple):
    """The right answer of a blank among answers of others."""

    first: bool
    """The model finds it likelier, per character, than its rivals."""
    chance: float
    """That a draw among them is the right one."""


def rank_blanks(model: "LanguageModel", questions: Sequence[Question], renderer: Renderer) -> list[BlankRank | None]:
    """Of each blank; None where it has no rivals."""
    choices = [[question.answer, *list_rivals(question, questions)] for question in questions]
    texts = [
        render_answers(question.id, phrase_question(question), options, renderer)
        for question, options in zip(questions, choices, strict=True)
    ]
    found = score_continuations(model, texts, desc="blanks")
    per_character = [
        [score / len(option) for score, option in zip(scores, options, strict=True)]
        for scores, options in zip(found, choices, strict=True)
    ]
    return [BlankRank(own[0] >= max(own), 1 / len(own)) if own[1:] else None for own in per_character]


def list_rivals(question: Question, questions: Sequence[Question]) -> list[str]:
    """Answers of other blanks of the family, numbers for a number and words for words, drawn by a hash."""
    number = any(character.isdigit() for character in question.answer)
    others = [
        other.answer
        for other in sorted(questions, key=lambda other: _hash(f"{question.id}/{other.id}"))
        if other.family == question.family
        and any(character.isdigit() for character in other.answer) == number
        and not any(match_texts(other.answer, text) for text in (question.answer, *question.aliases))
    ]
    return list(dict.fromkeys(others))[:RIVALS]


def judge_filled(question: Question, written: str, rank: BlankRank | None) -> Score:
    """What the text is worth that a model wrote into a blank."""
    measures = {"ranked_first": float(rank.first), "ranked_first_chance": rank.chance} if rank else {}
    return _make_score(question, float(judge_blank(question, written)), measures, written)


def judge_open(question: Question, written: str, truncated: bool) -> Score:
    """What an open answer is worth: the share of key facts that it states."""
    measures = measure_open_answer(written, question.answer, question.key_facts)
    value = measures.pop("key_facts")
    return _make_score(question, value, measures | {"truncated": float(truncated)}, written)


def summarize_written(scores: Sequence[Score]) -> Numbers:
    """`blank` and `open`, each where there are such scores."""
    metrics: dict[str, Numbers] = {}
    if blanks := [score for score in scores if score.kind == "blank"]:
        ranked = [score.measures for score in blanks if "ranked_first" in score.measures]
        names = ("ranked_first", "ranked_first_chance") if ranked else ()
        metrics["blank"] = {
            "accuracy": round(mean(score.value for score in blanks), 4),
            **{name: round(mean(measures[name] for measures in ranked), 4) for name in names},
            "questions": len(blanks),
        }
    if others := [score for score in scores if score.kind == "open"]:
        measured = ("rouge_l", "token_f1", "length", "truncated")
        metrics["open"] = {
            "key_facts": round(mean(score.value for score in others), 4),
            **{name: round(mean(score.measures[name] for score in others), 4) for name in measured},
            "questions": len(others),
        }
    return metrics


def _make_score(question: Question, value: float, measures: dict[str, float], answer: str) -> Score:
    return Score(
        item=question.id,
        suite="questions",
        family=question.family,
        kind=question.kind,
        cluster=question.cluster,
        value=value,
        measures=measures,
        answer=answer,
        expected=question.answer,
        explanation="",
    )


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
