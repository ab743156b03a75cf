"""True/false questions with two pairs of words and without the model's liking for either word.

A model may find "True" likelier than "False" after any statement, and then it is right about every true one. Two
things are done against it: the answer is asked for in two wordings, True/False and Yes/No, and from the log-odds of
each wording those are taken off that it has where no statement is made ("N/A", the content-free input of Zhao et al.,
"Calibrate Before Use", arXiv 2102.09690). The sign of their mean is the answer.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netllama.core.records import Question
from netllama.rendering.question_texts import VERBALISERS
from netllama.rendering.renderer import Renderer
from netllama.scoring.likelihood import score_continuations
from netllama.scoring.rendered_answers import render_answers

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

CONTENT_FREE = "N/A"


def score_balanced(model: "LanguageModel", questions: Sequence[Question], renderer: Renderer) -> dict[str, float]:
    """By the id of a true/false question, 1 if the balanced answer is right, else 0."""
    own = [question for question in questions if question.kind == "true_false"]
    if not own:
        return {}
    statements = [*((question.id, question.question) for question in own), (CONTENT_FREE, CONTENT_FREE)]
    texts = [
        render_answers(name, f"{wording} {statement}", words, renderer)
        for wording, words in VERBALISERS
        for name, statement in statements
    ]
    odds = [true - false for true, false in score_continuations(model, texts, desc="true or false")]
    wordings = [odds[start : start + len(statements)] for start in range(0, len(odds), len(statements))]
    return {
        question.id: float(
            judge_balanced([(each[place], each[-1]) for each in wordings]) == (question.answer == "true")
        )
        for place, question in enumerate(own)
    }


def judge_balanced(odds: Sequence[tuple[float, float]]) -> bool:
    """Whether a statement is called true that has these log-odds of true (nats) in each wording, with the statement
    and without it. Odds of zero are no yes."""
    return sum(asked - unasked for asked, unasked in odds) > 0
